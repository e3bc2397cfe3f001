package exchange

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/allmend-network/allmend/verify/digest"
)

// linksPerNode is how many blocks one UnixFS node names, as in `ipfs add`.
const linksPerNode = 174

// UnixFS node types and field tags (protobuf: field number << 3 | wire type).
const (
	unixfsDirectory = 1
	unixfsFile      = 2

	tagBytes1, tagVarint1  = 1<<3 | 2, 1 << 3
	tagBytes2              = 2<<3 | 2
	tagVarint3, tagVarint4 = 3 << 3, 4 << 3
)

const maxFolderDepth = 16

// Root returns the UnixFS root of a shard folder, under which IPFS users can
// add and pin it. It is what
//
//	ipfs add -r --cid-version=1 --chunker=size-1048576 DIR
//
// prints last: raw leaves of 1 MiB, which are the shards' own blocks, in
// balanced trees of 174 links a node. Nobody signs this root.
func Root(dir string) (cid.Cid, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return cid.Undef, err
	}
	defer root.Close()
	l, err := folderLink(root.FS(), ".", 0)
	if err != nil {
		return cid.Undef, fmt.Errorf("UnixFS root of %s: %w", dir, err)
	}
	return l.cid, nil
}

// link is a DAG and its size.
type link struct {
	name  string
	cid   cid.Cid
	total uint64 // bytes of all its blocks
	file  uint64 // bytes of the file below
}

// folderLink returns the directory node of dir; fs.ReadDir sorts by name.
func folderLink(files fs.FS, dir string, depth int) (link, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return link{}, err
	}
	if depth > maxFolderDepth {
		return link{}, fmt.Errorf("%q: folders nest deeper than %d", dir, maxFolderDepth)
	}
	links := make([]link, len(entries))
	for i, entry := range entries {
		path := entry.Name()
		if dir != "." {
			path = dir + "/" + path
		}
		switch {
		case entry.IsDir():
			links[i], err = folderLink(files, path, depth+1)
		case entry.Type().IsRegular():
			links[i], err = fileLink(files, path)
		default:
			err = fmt.Errorf("%q is neither a file nor a folder", path)
		}
		if err != nil {
			return link{}, err
		}
		links[i].name = entry.Name()
	}
	return node(links, []byte{tagVarint1, unixfsDirectory}), nil
}

// fileLink returns the tree over the blocks of a file.
func fileLink(files fs.FS, path string) (link, error) {
	f, err := files.Open(path)
	if err != nil {
		return link{}, err
	}
	defer f.Close()
	var level []link
	block := make([]byte, digest.BlockSize)
	for {
		n, err := io.ReadFull(f, block)
		if n > 0 {
			level = append(level, link{cid: CID(digest.Of(block[:n])), total: uint64(n), file: uint64(n)})
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return link{}, err
		}
	}
	if len(level) == 0 {
		return link{cid: CID(digest.Of(nil))}, nil
	}
	for len(level) > 1 {
		var above []link
		for ; len(level) > 0; level = level[min(linksPerNode, len(level)):] {
			above = append(above, fileNode(level[:min(linksPerNode, len(level))]))
		}
		level = above
	}
	return level[0], nil
}

// fileNode returns the node over some parts of a file.
func fileNode(parts []link) link {
	var size uint64
	for _, p := range parts {
		size += p.file
	}
	data := binary.AppendUvarint([]byte{tagVarint1, unixfsFile, tagVarint3}, size)
	for _, p := range parts {
		data = binary.AppendUvarint(append(data, tagVarint4), p.file)
	}
	n := node(parts, data)
	n.file = size
	return n
}

// node returns the dag-pb node of links and UnixFS data: the links come first.
func node(links []link, data []byte) link {
	var b []byte
	var total uint64
	for _, l := range links {
		entry := field(nil, tagBytes1, l.cid.Bytes())
		entry = field(entry, tagBytes2, []byte(l.name))
		entry = binary.AppendUvarint(append(entry, tagVarint3), l.total)
		b = field(b, tagBytes2, entry)
		total += l.total
	}
	b = field(b, tagBytes1, data)
	sum := digest.Of(b)
	return link{cid: cid.NewCidV1(cid.DagProtobuf, multihashOf(sum)), total: total + uint64(len(b))}
}

func field(dst []byte, tag byte, value []byte) []byte {
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(value)))
	return append(dst, value...)
}
