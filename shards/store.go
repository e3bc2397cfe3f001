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

// Blocks is where blocks are read from. It is safe for concurrent use.
type Blocks interface {
	// Size returns the size in bytes of a block, or false if there is none of
	// that name. It does not read the block.
	Size(sum digest.Sum) (n int, ok bool)
	// Get returns a block whose SHA-256 it has checked; the caller owns it.
	// It fails with *MissingError or, for bytes of another name, *MismatchError.
	Get(ctx context.Context, sum digest.Sum) ([]byte, error)
}

// Store is Blocks that can be added to.
type Store interface {
	Blocks
	// Put stores a block of at most digest.BlockSize bytes and returns its name.
	Put(block []byte) (digest.Sum, error)
}

// DirStore is a Store in a folder: the block of name s lies in the file
// s[0:2]/s, where s is in hexadecimal.
type DirStore struct{ dir string }

// OpenDirStore returns the store in dir, which it creates if need be.
func OpenDirStore(dir string) (*DirStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("block store: %w", err)
	}
	return &DirStore{dir}, nil
}

func (s *DirStore) path(sum digest.Sum) string {
	name := sum.String()
	return filepath.Join(s.dir, name[:2], name)
}

// Size implements [Blocks].
func (s *DirStore) Size(sum digest.Sum) (int, bool) {
	info, err := os.Stat(s.path(sum))
	if err != nil || !info.Mode().IsRegular() || info.Size() > digest.BlockSize {
		return 0, false
	}
	return int(info.Size()), true
}

// Get implements [Blocks]. A damaged block is removed, so that it can be
// fetched again.
func (s *DirStore) Get(ctx context.Context, sum digest.Sum) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{sum}
	}
	if err != nil {
		return nil, fmt.Errorf("block store: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, digest.BlockSize+1))
	if err != nil {
		return nil, fmt.Errorf("block store: %w", err)
	}
	if err := checkBlock(b, sum); err != nil {
		return nil, errors.Join(err, os.Remove(s.path(sum)))
	}
	return b, nil
}

// Put implements [Store]. The block is on disk when Put returns.
func (s *DirStore) Put(block []byte) (digest.Sum, error) {
	if len(block) > digest.BlockSize {
		return digest.Sum{}, errTooLarge(block)
	}
	sum := digest.Of(block)
	if n, ok := s.Size(sum); ok && n == len(block) {
		return sum, nil
	}
	path := s.path(sum)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return digest.Sum{}, fmt.Errorf("block store: %w", err)
	}
	if err := writeFile(path, block, 0o600); err != nil {
		return digest.Sum{}, fmt.Errorf("block store: %w", err)
	}
	return sum, nil
}

func errTooLarge(block []byte) error {
	return fmt.Errorf("a block of %d bytes, at most %d are allowed", len(block), digest.BlockSize)
}

// checkBlock fails with *MismatchError unless b is the block named sum.
func checkBlock(b []byte, sum digest.Sum) error {
	if len(b) > digest.BlockSize {
		return &MismatchError{What: "block " + sum.String(), Got: "more than 1 MiB", Want: "at most 1 MiB"}
	}
	if got := digest.Of(b); got != sum {
		return &MismatchError{What: "block " + sum.String(), Got: "bytes of sha256 " + got.String(), Want: sum.String()}
	}
	return nil
}

// writeFile replaces the file at path by b: after a crash it holds all of the
// old or all of the new bytes.
func writeFile(path string, b []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
