package shards

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/allmend-network/allmend/verify/digest"
)

// Assemble writes the shard folder dir from a manifest and a store that holds
// the blocks. Files of kind dropped are left out when their blocks are missing,
// since they are not given to everyone. The folder appears complete or not at
// all; one that exists already is refused.
func Assemble(ctx context.Context, m Manifest, from Blocks, dir string) (err error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already: choose a folder that does not: %w", dir, errors.Join(fs.ErrExist, err))
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("shard manifest: %w", err)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, ".new-"+filepath.Base(dir)+"-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if err := assemble(ctx, m, from, temp); err != nil {
		return fmt.Errorf("shard folder %s: %w", dir, err)
	}
	return Publish(temp, dir)
}

// Publish moves the finished folder temp to dir, which must not exist or be an
// empty folder, and makes the move durable.
func Publish(temp, dir string) error {
	if err := syncDir(temp); err != nil {
		return err
	}
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		if err := os.Remove(dir); err != nil { // only if it is empty
			return err
		}
	}
	if err := os.Rename(temp, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func assemble(ctx context.Context, m Manifest, from Blocks, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range m.Files {
		if f.Kind == Dropouts && !holds(from, f.Blocks) {
			continue
		}
		if err := assembleFile(ctx, root, f, from); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
	}
	b, err := m.Marshal()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, ManifestName), b, 0o644)
}

func holds(from Blocks, sums []digest.Sum) bool {
	for _, sum := range sums {
		if _, ok := from.Size(sum); !ok {
			return false
		}
	}
	return true
}

func assembleFile(ctx context.Context, root *os.Root, f File, from Blocks) (err error) {
	if folder := path.Dir(f.Path); folder != "." {
		if err := root.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	out, err := root.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Sync(), out.Close()) }()
	for _, sum := range f.Blocks {
		b, err := from.Get(ctx, sum)
		if err != nil {
			return err
		}
		if err := checkBlock(b, sum); err != nil {
			return err
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	return nil
}
