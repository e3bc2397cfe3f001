package coordinator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// signer signs heads, and never two roots for one index: the last head is on
// disk before it is given away, and the next one is signed only over a log
// that has the last one's root at the last one's index.
type signer struct {
	path string
	run  run.ID
	key  identity.Key
	last run.Signed   // zero until the first head
	mark func() error // notes elsewhere that this key signs, before its first head
}

// ForkError says that this coordinator signed a head its log does not lead to.
type ForkError struct {
	Path   string
	Index  uint64
	Signed digest.Sum
	Have   digest.Sum // zero when the log is shorter
}

// Error implements error.
func (e *ForkError) Error() string {
	return fmt.Sprintf("%s: this coordinator signed root %s for the first %d records, its log has %s there; its disk lost or changed part of the log, so it must not sign again: replace it with `allmend members rotate` and a new key",
		e.Path, e.Signed.Short(), e.Index, e.Have.Short())
}

func openSigner(path string, id run.ID, key identity.Key, mark func() error) (*signer, error) {
	s := &signer{path: path, run: id, key: key, mark: mark}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("last signed head: %w", err)
	}
	if s.last, err = run.ParseSigned(b); err != nil {
		return nil, fmt.Errorf("last signed head %s: %w", path, err)
	}
	signers, err := s.last.Signers(id)
	if err != nil {
		return nil, fmt.Errorf("last signed head %s: %w", path, err)
	}
	if _, ok := s.last.Statement.(run.Head); !ok || signers[0] != key.Address() {
		return nil, fmt.Errorf("last signed head %s: %s of %s, want a Head of %s", path, s.last.Statement.Kind(), signers[0], key.Address())
	}
	return s, nil
}

// head returns the last head, and whether there is one.
func (s *signer) head() (run.Head, bool) {
	h, ok := s.last.Statement.(run.Head)
	return h, ok
}

// sign signs the log's head at each of the sizes, ascending, that is beyond
// the last head, and makes the last of them durable before it returns them.
func (s *signer) sign(log *Records, sizes []uint64) ([]run.Signed, error) {
	if last, signed := s.head(); signed && len(sizes) > 0 && sizes[len(sizes)-1] >= last.Index {
		have, err := log.Root(last.Index)
		if err != nil {
			return nil, err
		}
		if have != last.Root {
			return nil, &ForkError{s.path, last.Index, last.Root, have}
		}
	}
	if _, signed := s.head(); !signed && len(sizes) > 0 {
		if err := s.mark(); err != nil {
			return nil, err
		}
	}
	var heads []run.Signed
	for _, size := range sizes {
		if last, _ := s.head(); size <= last.Index {
			continue
		}
		root, err := log.Root(size)
		if err != nil {
			return nil, err
		}
		head, err := run.Sign(s.run, s.key, run.Head{Index: size, Root: root})
		if err != nil {
			return nil, err
		}
		s.last = head
		heads = append(heads, head)
	}
	if len(heads) == 0 {
		return nil, nil
	}
	b, err := s.last.Marshal()
	if err != nil {
		return nil, err
	}
	if err := writeFile(s.path, b); err != nil {
		return nil, fmt.Errorf("keeping the signed head: %w; nothing that was agreed on is lost: mend the disk and start again", err)
	}
	return heads, nil
}

// writeFile writes a file so that a crash leaves the old one or the new one.
func writeFile(path string, b []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(b)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(filepath.Dir(path))
}
