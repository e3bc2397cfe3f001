package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// objectID sends the bytes that a digest names: the Spec, manifests,
// checkpoint files, reduced vectors and contributions. They are the run's
// evidence and public.
//
//	→ frame: objectRequest
//	← frame: objectHead
//	← the bytes from the asked offset on, unframed
const objectID = protocol.ID("/allmend/1/object")

// maxObject bounds any object in bytes.
const maxObject = 1 << 40

type objectRequest struct {
	Name   digest.Sum `json:"name"`
	Offset int64      `json:"offset"`
}

type objectHead struct {
	Found bool  `json:"found"`
	Size  int64 `json:"size"` // of the whole object
}

// ErrNoObject says that a peer does not have an object.
var ErrNoObject = errors.New("the peer does not have it")

// Library finds objects on this peer's disk.
type Library interface {
	// Path returns the file that holds an object, and whether there is one.
	Path(name digest.Sum) (string, bool)
}

// serveObjects answers objectID from a library.
func (h *Host) serveObjects(library Library) {
	h.handle(objectID, RoleStranger, func(_ context.Context, s *stream) error {
		var request objectRequest
		if err := readDocument(s, &request, maxHello); err != nil {
			return err
		}
		path, ok := library.Path(request.Name)
		if !ok {
			return writeDocument(s, objectHead{})
		}
		file, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return writeDocument(s, objectHead{})
		}
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if request.Offset < 0 || request.Offset > info.Size() {
			return fmt.Errorf("object %s from byte %d of %d", request.Name, request.Offset, info.Size())
		}
		if err := writeDocument(s, objectHead{true, info.Size()}); err != nil {
			return err
		}
		_, err = io.Copy(giving{h, s}, io.NewSectionReader(file, request.Offset, info.Size()-request.Offset))
		return err
	})
}

// giving notes when something was served last.
type giving struct {
	*Host
	to io.Writer
}

func (g giving) Write(b []byte) (int, error) {
	g.given.Store(time.Now().UnixNano())
	return g.to.Write(b)
}

// gave returns when an object was served last; long ago if none was.
func (h *Host) gave() time.Time { return time.Unix(0, h.given.Load()) }

// Check says whether a file holds what was asked for.
type Check func(r io.Reader) error

// CheckSHA256 accepts a file with this SHA-256.
func CheckSHA256(name digest.Sum) Check {
	return func(r io.Reader) error {
		got, err := digest.Read(r, maxObject)
		if err == nil && got.SHA256 != name {
			err = fmt.Errorf("its SHA-256 is %s, want %s", got.SHA256, name)
		}
		return err
	}
}

// CheckVector accepts a file whose 1 MiB blocks have this Merkle root.
func CheckVector(name digest.Sum) Check {
	return func(r io.Reader) error {
		var leaves []digest.Sum
		block := make([]byte, digest.BlockSize)
		for {
			n, err := io.ReadFull(r, block)
			if n > 0 {
				leaves = append(leaves, digest.Leaf(block[:n]))
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				break
			}
			if err != nil {
				return err
			}
		}
		if got := digest.Root(leaves); got != name {
			return fmt.Errorf("its root is %s, want %s", got, name)
		}
		return nil
	}
}

// Fetch writes the object of a name to path, atomically, from whichever of the
// peers has it. It goes on at the next peer where one breaks off, and begins
// anew when the whole does not pass check. size, if not 0, is the object's
// size; limit bounds it. progress, if not nil, is told the bytes that came.
func (h *Host) Fetch(ctx context.Context, name digest.Sum, path string, peers []identity.Address, check Check, size, limit int64, progress func(n int)) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+unfinished+"*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	if err := temp.Chmod(0o644); err != nil { // what is fetched is public
		return err
	}
	f := &fetching{Host: h, name: name, file: temp, size: size, limit: limit, progress: progress}
	var errs []error
	for _, p := range peers {
		if p == h.self {
			continue
		}
		err := f.from(ctx, p)
		if err == nil {
			err = f.check(check)
		}
		if err == nil {
			return errors.Join(temp.Sync(), os.Rename(temp.Name(), path), syncDir(filepath.Dir(path)))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, fmt.Errorf("from %s: %w", p.Short(), err))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("nobody to ask is known"))
	}
	return fmt.Errorf("fetching %s: %w", name, errors.Join(errs...))
}

// fetching is one object on its way.
type fetching struct {
	*Host
	name        digest.Sum
	file        *os.File
	have        int64
	size, limit int64
	progress    func(int)
}

func (f *fetching) from(ctx context.Context, peer identity.Address) error {
	s, done, err := f.open(ctx, peer, objectID)
	if err != nil {
		return err
	}
	defer done()
	if err := writeDocument(s, objectRequest{f.name, f.have}); err != nil {
		return err
	}
	var head objectHead
	if err := readDocument(s, &head, maxHello); err != nil {
		return err
	}
	switch {
	case !head.Found:
		return ErrNoObject
	case head.Size < f.have || head.Size > f.limit || f.size != 0 && head.Size != f.size:
		return fmt.Errorf("it says the object has %d bytes, want %d and at most %d", head.Size, f.size, f.limit)
	}
	n, err := io.Copy(io.NewOffsetWriter(f.file, f.have), counting{io.LimitReader(s, head.Size-f.have), f.progress})
	f.have += n
	if err == nil && f.have < head.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// check reads the whole object; if it is wrong nothing of it is kept.
func (f *fetching) check(check Check) error {
	err := check(io.NewSectionReader(f.file, 0, f.have))
	if err != nil {
		f.have = 0
		err = errors.Join(err, f.file.Truncate(0))
	}
	return err
}

// counting tells how much is read.
type counting struct {
	io.Reader
	tell func(int)
}

func (c counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if c.tell != nil && n > 0 {
		c.tell(n)
	}
	return n, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
