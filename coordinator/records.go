package coordinator

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
	"golang.org/x/mod/sumdb/tlog"
)

// A records file is
//
//	magic   "allmend records 1\n"
//	record  length uint32 ‖ CRC-32C of the bytes uint32 ‖ bytes, repeated
//
// with big-endian integers. Record i is leaf i of the run's RFC 6962 log: its
// canonical JSON as signed heads cover it. A file that ends in the middle of a
// record was cut by a crash; the part is dropped. See docs/formats.md,
// "Records file".
const (
	recordsMagic = "allmend records 1\n"
	recordHeader = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Records is the run's log on one peer's disk, append-only. It is safe for
// concurrent use.
//
// Records are derived from what Raft holds durably (at a coordinator) or from
// what k coordinators signed (at a member), so a record that a crash cut off
// comes again, and Append need not fsync; Sync does.
type Records struct {
	path string

	mu     sync.RWMutex // guards the fields below
	file   *os.File
	ends   []int64 // ends[i] is the offset after record i
	hashes []tlog.Hash
	grown  chan struct{} // closed and replaced when a record is appended
}

// CorruptError says which record of a file is damaged.
type CorruptError struct {
	Path   string
	Record uint64
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: record %d is damaged (%s); move the file away and start again: it is fetched or derived anew", e.Path, e.Record, e.Reason)
}

// OpenRecords opens or creates a records file and checks every record's CRC.
func OpenRecords(path string) (*Records, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("records file: %w", err)
	}
	r := &Records{path: path, file: file, grown: make(chan struct{})}
	if err := r.load(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

func (r *Records) load() error {
	size, err := r.file.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("records file: %w", err)
	}
	if size < int64(len(recordsMagic)) {
		return r.begin()
	}
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("records file: %w", err)
	}
	end := int64(len(recordsMagic))
	err = readRecords(r.file, func(b []byte) error {
		end += recordHeader + int64(len(b))
		return r.index(b, end)
	})
	var corrupt *CorruptError
	switch {
	case errors.As(err, &corrupt):
		corrupt.Path = r.path
		return corrupt
	case errors.Is(err, io.ErrUnexpectedEOF):
		return r.file.Truncate(end)
	}
	return err
}

// begin writes the magic of an empty file, or of one whose magic was cut.
func (r *Records) begin() error {
	if err := r.file.Truncate(0); err != nil {
		return fmt.Errorf("records file: %w", err)
	}
	if _, err := r.file.WriteAt([]byte(recordsMagic), 0); err != nil {
		return fmt.Errorf("records file: %w", err)
	}
	return errors.Join(r.file.Sync(), syncDir(filepath.Dir(r.path)))
}

// index appends a record to the indices that mu guards.
func (r *Records) index(b []byte, end int64) error {
	n := int64(len(r.ends))
	hashes, err := tlog.StoredHashes(n, b, tlog.HashReaderFunc(r.readHashes))
	if err != nil {
		return fmt.Errorf("hashing record %d: %w", n, err)
	}
	r.hashes = append(r.hashes, hashes...)
	r.ends = append(r.ends, end)
	return nil
}

func (r *Records) readHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(r.hashes)) {
			return nil, fmt.Errorf("hash %d of %d", x, len(r.hashes))
		}
		out[i] = r.hashes[x]
	}
	return out, nil
}

// readRecords calls each with every record of a stream that begins with the
// magic. It returns [io.ErrUnexpectedEOF] when the stream ends within one.
func readRecords(stream io.Reader, each func([]byte) error) error {
	in := bufio.NewReader(stream)
	magic := make([]byte, len(recordsMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != recordsMagic {
		return &CorruptError{Reason: "this is not a records file of version 1"}
	}
	for n := uint64(0); ; n++ {
		var header [recordHeader]byte
		if _, err := io.ReadFull(in, header[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(header[:4])
		if size == 0 || size > run.MaxRecordSize {
			return &CorruptError{Record: n, Reason: fmt.Sprintf("%d bytes long, want 1 to %d", size, run.MaxRecordSize)}
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(in, b); err != nil {
			return io.ErrUnexpectedEOF
		}
		if crc32.Checksum(b, castagnoli) != binary.BigEndian.Uint32(header[4:]) {
			return &CorruptError{Record: n, Reason: "its checksum does not fit"}
		}
		if err := each(b); err != nil {
			return err
		}
	}
}

// appendRecord appends the encoding of record b to buf.
func appendRecord(buf, b []byte) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(b)))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(b, castagnoli))
	return append(buf, b...)
}

// Len returns the number of records.
func (r *Records) Len() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return uint64(len(r.ends))
}

// Root returns the root of the log's first size records. It fails when there
// are fewer.
func (r *Records) Root(size uint64) (digest.Sum, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if size > uint64(len(r.ends)) {
		return digest.Sum{}, fmt.Errorf("root of %d records, %d are here", size, len(r.ends))
	}
	root, err := tlog.TreeHash(int64(size), tlog.HashReaderFunc(r.readHashes))
	return digest.Sum(root), err
}

// Append appends records after the first from. Those that are there already
// must have the same bytes.
func (r *Records) Append(from uint64, records ...[]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := uint64(len(r.ends))
	if from > have {
		return fmt.Errorf("%s: record %d after %d", r.path, from, have)
	}
	for from < have && len(records) > 0 {
		stored, err := r.read(from)
		if err != nil {
			return err
		}
		if !bytes.Equal(stored, records[0]) {
			return &CorruptError{r.path, from, "it differs from the one derived now"}
		}
		from, records = from+1, records[1:]
	}
	if len(records) == 0 {
		return nil
	}
	return r.write(records)
}

// write appends new records; the caller holds mu. After a failed write the
// file is as it was.
func (r *Records) write(records [][]byte) error {
	start := r.end(uint64(len(r.ends)))
	var buf []byte
	ends := make([]int64, len(records))
	for i, b := range records {
		if len(b) == 0 || len(b) > run.MaxRecordSize {
			return fmt.Errorf("record of %d bytes, want 1 to %d", len(b), run.MaxRecordSize)
		}
		buf = appendRecord(buf, b)
		ends[i] = start + int64(len(buf))
	}
	if _, err := r.file.WriteAt(buf, start); err != nil {
		return errors.Join(fmt.Errorf("writing records: %w", err), r.file.Truncate(start))
	}
	for i, b := range records {
		if err := r.index(b, ends[i]); err != nil {
			return err
		}
	}
	close(r.grown)
	r.grown = make(chan struct{})
	return nil
}

// end returns the offset after the first n records; the caller holds mu.
func (r *Records) end(n uint64) int64 {
	if n == 0 {
		return int64(len(recordsMagic))
	}
	return r.ends[n-1]
}

// read returns record i; the caller holds mu.
func (r *Records) read(i uint64) ([]byte, error) {
	start := r.end(i)
	b := make([]byte, r.ends[i]-start)
	if _, err := r.file.ReadAt(b, start); err != nil {
		return nil, fmt.Errorf("reading record %d: %w", i, err)
	}
	if crc32.Checksum(b[recordHeader:], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil, &CorruptError{r.path, i, "its checksum does not fit"}
	}
	return b[recordHeader:], nil
}

// Read returns up to limit records from index from on, fewer when they are
// large, and a channel that is closed when there are more records than now.
func (r *Records) Read(from uint64, limit int) ([][]byte, <-chan struct{}, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out [][]byte
	for i, size := from, 0; i < uint64(len(r.ends)) && len(out) < limit && size < run.MaxRecordSize; i++ {
		b, err := r.read(i)
		if err != nil {
			return nil, nil, err
		}
		out, size = append(out, b), size+len(b)
	}
	return out, r.grown, nil
}

// Export writes the first n records to w, as a records file.
func (r *Records) Export(w io.Writer, n uint64) error {
	r.mu.RLock()
	if n > uint64(len(r.ends)) {
		r.mu.RUnlock()
		return fmt.Errorf("export of %d records, %d are here", n, len(r.ends))
	}
	file, end := r.file, r.end(n)
	r.mu.RUnlock()
	// The first n records never change, and file stays open until Close.
	_, err := io.Copy(w, io.NewSectionReader(file, 0, end))
	return err
}

// Sync makes the records durable.
func (r *Records) Sync() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.file.Sync()
}

// Close closes the file.
func (r *Records) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file.Close()
}

// take makes sure that the file holds the log that stream holds, of this size
// and root: it may have it, and more, already. check says whether its records
// are to be believed before anything is changed.
func (r *Records) take(stream io.Reader, size uint64, root digest.Sum, check func(*Records) error) error {
	if have, err := r.Root(size); err == nil && have == root {
		return check(r)
	}
	return r.replace(stream, size, root, check)
}

// replace takes over a records file's content from a stream whose log must
// have this size and root. When it fails nothing has changed.
func (r *Records) replace(stream io.Reader, size uint64, root digest.Sum, check func(*Records) error) error {
	if err := os.Remove(r.path + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fresh, err := OpenRecords(r.path + ".new")
	if err != nil {
		return err
	}
	if err = fresh.fill(stream, size, root); err == nil {
		err = check(fresh)
	}
	if err = errors.Join(err, fresh.Sync()); err != nil {
		return errors.Join(err, fresh.Close(), os.Remove(fresh.path))
	}
	if err := os.Rename(fresh.path, r.path); err != nil {
		return errors.Join(err, fresh.Close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.file
	r.file, r.ends, r.hashes = fresh.file, fresh.ends, fresh.hashes
	close(r.grown)
	r.grown = make(chan struct{})
	return errors.Join(old.Close(), syncDir(filepath.Dir(r.path)))
}

func (r *Records) fill(stream io.Reader, size uint64, root digest.Sum) error {
	err := readRecords(stream, func(b []byte) error { return r.Append(r.Len(), b) })
	if err != nil {
		return fmt.Errorf("records of a snapshot: %w", err)
	}
	got, err := r.Root(r.Len())
	if err == nil && (r.Len() != size || got != root) {
		err = fmt.Errorf("records of a snapshot: %d with root %s, want %d with root %s", r.Len(), got.Short(), size, root.Short())
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
