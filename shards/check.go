package shards

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/verify/digest"
)

// maxIndexSize bounds an .idx file that is read into memory: 50 million
// documents.
const maxIndexSize = 1 << 30

// Findings is what [Check] found in a shard folder.
type Findings struct {
	Manifest  digest.Sum
	Checked   []string         // files with the bytes the manifest says
	Unchecked []string         // files that are not here and need not be, with the reason
	Problems  []*MismatchError // files that differ, are missing, or are in no manifest
}

// Check reads every file of the shard folder dir and compares it with the
// folder's manifest; progress, if not nil, is told the bytes of each block
// read. A folder that is not as its manifest says is no error: see
// [Findings.Problems]. Whether the manifest is the right one is for the caller
// to say, by its digest.
func Check(ctx context.Context, dir string, progress func(bytes int)) (Findings, error) {
	m, sum, err := ReadManifest(dir)
	if err != nil {
		return Findings{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Findings{}, fmt.Errorf("shard folder: %w", err)
	}
	defer root.Close()
	found := Findings{Manifest: sum}
	if progress == nil {
		progress = func(int) {}
	}
	for _, f := range m.Files {
		problem, err := checkFile(ctx, root, f, progress)
		switch {
		case errors.Is(err, fs.ErrNotExist) && f.Kind == Dropouts:
			found.Unchecked = append(found.Unchecked, f.Path+": not here (it is served to members and admitted auditors only)")
		case errors.Is(err, fs.ErrNotExist):
			found.Problems = append(found.Problems, &MismatchError{fmt.Sprintf("file %q", f.Path), "no file", fmt.Sprintf("%d bytes of sha256 %s", f.Bytes, f.SHA256)})
		case err != nil:
			return found, fmt.Errorf("shard folder %s: %w", dir, err)
		case problem != nil:
			found.Problems = append(found.Problems, problem)
		default:
			found.Checked = append(found.Checked, f.Path)
		}
	}
	extra, err := extraFiles(dir, m)
	found.Problems = append(found.Problems, extra...)
	return found, err
}

// checkFile compares one file with its row.
func checkFile(ctx context.Context, root *os.Root, f File, progress func(int)) (*MismatchError, error) {
	name := fmt.Sprintf("file %q", f.Path)
	info, err := root.Lstat(filepath.FromSlash(f.Path))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return &MismatchError{name, info.Mode().Type().String() + ", not a regular file", "a regular file"}, nil
	}
	if info.Size() != f.Bytes {
		return &MismatchError{name, fmt.Sprintf("%d bytes", info.Size()), fmt.Sprintf("%d bytes", f.Bytes)}, nil
	}
	file, err := root.Open(filepath.FromSlash(f.Path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	read, err := digest.Read(&progressReader{ctx, file, progress}, f.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, got := range read.Blocks {
		if i < len(f.Blocks) && got != f.Blocks[i] {
			return &MismatchError{blockName(f.Path, int64(i)*digest.BlockSize), "bytes of sha256 " + got.String(), f.Blocks[i].String()}, nil
		}
	}
	if read.SHA256 != f.SHA256 || len(read.Blocks) != len(f.Blocks) {
		return &MismatchError{name, "sha256 " + read.SHA256.String(), f.SHA256.String()}, nil
	}
	if f.Kind == TokenIdx {
		return checkIndex(root, f)
	}
	return nil, nil
}

// checkIndex compares what an index says with its row.
func checkIndex(root *os.Root, f File) (*MismatchError, error) {
	b, err := readRegular(root, f.Path, maxIndexSize)
	if err != nil {
		return nil, err
	}
	x, err := ParseIndex(b)
	if err != nil {
		return &MismatchError{fmt.Sprintf("file %q", f.Path), err.Error(), "a Megatron index"}, nil
	}
	if x.Tokens() != f.Tokens {
		return &MismatchError{fmt.Sprintf("file %q", f.Path), fmt.Sprintf("%d tokens", x.Tokens()), fmt.Sprintf("%d tokens", f.Tokens)}, nil
	}
	return nil, nil
}

// extraFiles names what lies in dir beside the files of the manifest.
func extraFiles(dir string, m Manifest) (extra []*MismatchError, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if _, ok := m.File(name); !ok && name != ManifestName && name != SignaturesName {
			extra = append(extra, &MismatchError{fmt.Sprintf("file %q", name), "a file", "none: the manifest does not list it"})
		}
		return nil
	})
	return extra, err
}

// progressReader reads until ctx ends and reports what it read.
type progressReader struct {
	ctx      context.Context
	r        io.Reader
	progress func(int)
}

func (p *progressReader) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b)
	p.progress(n)
	return n, err
}
