package forge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Layout is what a forger has in hand.
type Layout struct {
	Run      run.ID
	Evidence string       // folder, as `allmend run fetch` writes it
	Shards   string       // folder, as `allmend shards fetch` writes it
	Stranger identity.Key // of nobody in the run
}

// Case is one way to damage or forge evidence.
type Case struct {
	Name  string // of the case, for people
	Check string // the command of allmend-verify that must refuse it: "run", "checkpoint", "shards"
	// Apply does it to the folders, which must be copies that the caller can
	// spare, and returns what the refusal must name. Files are replaced, never
	// written to, so that the copies may be hard links.
	Apply func(Layout) (want string, err error)
}

// Copy returns the layout of a copy of l in the folder dir, which must exist.
// Files are hard links where the disk allows it.
func (l Layout) Copy(dir string) (Layout, error) {
	c := l
	c.Evidence, c.Shards = filepath.Join(dir, "evidence"), filepath.Join(dir, "shards")
	return c, errors.Join(copyTree(l.Evidence, c.Evidence), copyTree(l.Shards, c.Shards))
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if os.Link(path, target) == nil {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o644)
	})
}

// edit replaces a file by what change makes of it.
func edit(path string, change func([]byte) ([]byte, error)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if b, err = change(append([]byte{}, b...)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return put(path, b)
}

// put replaces a file, leaving alone the one that a hard link shares with it.
func put(path string, b []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// flip returns the case of one flipped bit in the middle of the last file that
// matches pattern below one of the folders.
func flip(name, check, pattern string, folder func(Layout) string) Case {
	return Case{"one bit flipped in " + name, check, func(l Layout) (string, error) {
		path, err := last(folder(l), pattern)
		if err != nil {
			return "", err
		}
		return filepath.Base(path), edit(path, func(b []byte) ([]byte, error) {
			if len(b) == 0 {
				return nil, errors.New("an empty file has no bit to flip")
			}
			b[len(b)/2] ^= 1
			return b, nil
		})
	}}
}

// last returns the last path, by name, that matches a pattern: of checkpoints
// the last one, which is signed.
func last(folder, pattern string) (string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, pattern))
	if err != nil || len(paths) == 0 {
		return "", errors.Join(err, fmt.Errorf("there is no %s in %s", pattern, folder))
	}
	return paths[len(paths)-1], nil
}

// anotherRun is the ID of a run that does not exist.
var anotherRun = digest.Of([]byte("another run"))
