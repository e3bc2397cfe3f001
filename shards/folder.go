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

// Folder is a shard folder as a Store: it serves the blocks that the manifest
// lists, and the manifest itself if it fits into one, straight out of the
// files, so that no second copy is needed. Nothing can be added to it.
type Folder struct {
	root     *os.Root
	manifest Manifest
	digest   digest.Sum
	where    map[digest.Sum]location // of one occurrence of each block; built once
}

// location is where a block lies.
type location struct {
	path   string
	offset int64
	size   int
}

// ReadManifest reads the manifest of the shard folder dir and returns it with
// its digest.
func ReadManifest(dir string) (Manifest, digest.Sum, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Manifest{}, digest.Sum{}, fmt.Errorf("shard folder: %w", err)
	}
	defer root.Close()
	b, err := readRegular(root, ManifestName, MaxManifestSize)
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, digest.Sum{}, fmt.Errorf("%s is not a shard folder: it has no %s (make one with `allmend shards build` or `allmend shards fetch`): %w", dir, ManifestName, err)
	}
	if err != nil {
		return Manifest{}, digest.Sum{}, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return Manifest{}, digest.Sum{}, fmt.Errorf("%s: %w", filepath.Join(dir, ManifestName), err)
	}
	return m, digest.Of(b), nil
}

// readRegular reads a file of at most limit bytes that is no link or device.
func readRegular(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("file %q: more than %d bytes", name, limit)
	}
	return b, err
}

func openRegular(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("file %q: not a regular file", name)
	}
	return root.Open(name)
}

// OpenFolder opens the shard folder dir. It checks the manifest but not the
// files; each block is checked when it is read.
func OpenFolder(dir string) (*Folder, error) {
	m, sum, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("shard folder: %w", err)
	}
	f := &Folder{root: root, manifest: m, digest: sum, where: make(map[digest.Sum]location)}
	for _, file := range m.Files {
		for j, b := range file.Blocks {
			offset := int64(j) * digest.BlockSize
			f.where[b] = location{file.Path, offset, int(min(digest.BlockSize, file.Bytes-offset))}
		}
	}
	if info, err := root.Lstat(ManifestName); err == nil && info.Size() <= digest.BlockSize {
		f.where[sum] = location{ManifestName, 0, int(info.Size())}
	}
	return f, nil
}

// Manifest returns the manifest of the folder and its digest.
func (f *Folder) Manifest() (Manifest, digest.Sum) { return f.manifest, f.digest }

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Size implements [Blocks].
func (f *Folder) Size(sum digest.Sum) (int, bool) {
	at, ok := f.where[sum]
	if !ok {
		return 0, false
	}
	info, err := f.root.Lstat(at.path)
	if err != nil || info.Size() < at.offset+int64(at.size) {
		return 0, false
	}
	return at.size, true
}

// Get implements [Blocks].
func (f *Folder) Get(ctx context.Context, sum digest.Sum) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at, ok := f.where[sum]
	if !ok {
		return nil, &MissingError{sum}
	}
	file, err := openRegular(f.root, at.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{sum}
	}
	if err != nil {
		return nil, fmt.Errorf("shard folder: %w", err)
	}
	defer file.Close()
	b := make([]byte, at.size)
	n, err := file.ReadAt(b, at.offset)
	if err == io.EOF {
		err = nil // too short: the digest says so, or it is the end of the file
	}
	if err != nil {
		return nil, fmt.Errorf("shard folder: %w", err)
	}
	if got := digest.Of(b[:n]); got != sum {
		return nil, &MismatchError{What: blockName(at.path, at.offset), Got: fmt.Sprintf("%d bytes of sha256 %s", n, got), Want: fmt.Sprintf("%d bytes of sha256 %s", at.size, sum)}
	}
	return b, nil
}

// Put implements [Store]: it accepts the blocks that the folder holds and
// refuses all others.
func (f *Folder) Put(block []byte) (digest.Sum, error) {
	if len(block) > digest.BlockSize {
		return digest.Sum{}, errTooLarge(block)
	}
	sum := digest.Of(block)
	if _, ok := f.Size(sum); !ok {
		return digest.Sum{}, fmt.Errorf("block %s: a shard folder is complete and takes no other blocks", sum)
	}
	return sum, nil
}

func blockName(path string, offset int64) string {
	return fmt.Sprintf("file %q, block %d (from byte %d)", path, offset/digest.BlockSize, offset)
}
