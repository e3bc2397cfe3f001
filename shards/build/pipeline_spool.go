package build

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

// spool keeps documents on disk between the passes of a build.
type spool struct {
	file    *os.File
	out     *bufio.Writer
	size    int64
	entries []spooled
	buf     bytes.Buffer
}

// spooled is where a document lies, and its place in the order of packing.
type spooled struct {
	key    digest.Sum
	offset int64
	length int
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, ".spool-*")
	if err != nil {
		return nil, err
	}
	return &spool{file: f, out: bufio.NewWriterSize(f, 1<<20)}, nil
}

func (s *spool) close() error {
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// add appends a document. Its key is SHA-256(seed as 8 bytes, little endian ‖ SHA-256 of its text): sorting by it mixes
// sites and languages, and anyone can recompute it from the documents file.
func (s *spool) add(row shards.Document, seed uint64) error {
	sum := digest.Of([]byte(row.Text))
	s.buf.Reset()
	if err := gob.NewEncoder(&s.buf).Encode(row); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	n, err := s.out.Write(s.buf.Bytes())
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	key := digest.Of(append(binary.LittleEndian.AppendUint64(nil, seed), sum[:]...))
	s.entries = append(s.entries, spooled{key, s.size, n})
	s.size += int64(n)
	return nil
}

// shuffle puts the entries into the order of packing. Texts that differ only in what was masked have one key and keep the
// order of the input.
func (s *spool) shuffle() {
	slices.SortStableFunc(s.entries, func(a, b spooled) int { return bytes.Compare(a.key[:], b.key[:]) })
}

// document reads entry i back. It must not be called while documents are added.
func (s *spool) document(i int) (shards.Document, error) {
	var row shards.Document
	if err := s.out.Flush(); err != nil {
		return row, fmt.Errorf("spool: %w", err)
	}
	e := s.entries[i]
	err := gob.NewDecoder(io.NewSectionReader(s.file, e.offset, int64(e.length))).Decode(&row)
	if err != nil {
		err = fmt.Errorf("spool: %w", err)
	}
	return row, err
}
