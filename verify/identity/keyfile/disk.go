package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write creates the file at path, which must not exist, for its owner's eyes
// only. The file appears whole or not at all.
func Write(path string, f File) (err error) {
	b, err := f.Marshal()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing key file %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	_, err = temp.Write(b)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("writing key file %s: %w", path, err)
	}
	// A link, unlike a rename, never replaces what is there.
	err = os.Link(temp.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("key file %s exists already and is never overwritten: choose another name, or move it away: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("writing key file %s: %w", path, err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read reads the file at path. It refuses one that others than its owner may
// read or write.
func Read(path string) (File, error) {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, fmt.Errorf("there is no key file %s (make one with `allmend keys new %s`): %w", path, path, err)
	}
	if err != nil {
		return File{}, fmt.Errorf("key file: %w", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return File{}, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("key file %s: not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return File{}, fmt.Errorf("key file %s: its mode is %#o, so others can use the key: run `chmod 600 %s`, and if anybody may have read it, make a new key: %w", path, mode, path, fs.ErrPermission)
	}
	b, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err != nil {
		return File{}, fmt.Errorf("key file %s: %w", path, err)
	}
	f, err := Parse(b)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}
