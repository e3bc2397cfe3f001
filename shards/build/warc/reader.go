package warc

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Reader reads the records of one file in order.
type Reader struct {
	// MaxBlock bounds a block in bytes; NewReader sets DefaultMaxBlock. Change it before the first Next.
	MaxBlock int64

	file   string
	raw    *counter
	member *gzip.Reader  // nil when the file is not compressed
	text   *bufio.Reader // uncompressed bytes of the current member or of the whole file
	read   *counter      // counts what text has taken; the record position is read minus buffered
	start  int64         // raw offset of the current member, 0 when not compressed
	err    error         // first failure, kept
}

// NewReader reads from src, whose compression is told by its first bytes. The name serves for errors only.
// An empty file is not an error: Next gives io.EOF.
func NewReader(name string, src io.Reader) (*Reader, error) {
	r := &Reader{MaxBlock: DefaultMaxBlock, file: name, raw: &counter{src: bufio.NewReaderSize(src, 64<<10)}}
	magic, err := r.raw.src.Peek(10)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, r.damage(Position{}, "cannot be read", err)
	}
	switch {
	case len(magic) >= 4 && bytes.Equal(magic[:4], []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return nil, r.damage(Position{}, "is zstd; recompress it with gzip", nil)
	case bytes.HasPrefix(magic, []byte("filedesc:")):
		return nil, r.damage(Position{}, "is an ARC file; convert it to WARC first", nil)
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		if r.member, err = gzip.NewReader(r.raw); err != nil {
			return nil, r.damage(Position{}, "gzip header is damaged", err)
		}
		r.openMember()
	default:
		r.read = r.raw
		r.text = r.raw.src
	}
	return r, nil
}

// openMember points text at the member whose header has just been read.
func (r *Reader) openMember() {
	r.member.Multistream(false)
	r.read = &counter{src: bufio.NewReaderSize(r.member, 32<<10)}
	r.text = r.read.src
}

// nextMember moves to the next gzip member, or gives io.EOF at the end of the file.
func (r *Reader) nextMember() error {
	start := r.raw.n
	if _, err := r.raw.src.Peek(1); errors.Is(err, io.EOF) {
		return io.EOF
	}
	r.start = start
	if err := r.member.Reset(r.raw); err != nil {
		return r.damage(Position{Offset: start}, "gzip header of the next record is damaged", cause(err))
	}
	r.openMember()
	return nil
}

func (r *Reader) position() Position {
	if r.member == nil {
		return Position{Offset: r.read.n}
	}
	return Position{Offset: r.start, Within: r.read.n}
}

func (r *Reader) damage(at Position, what string, err error) error {
	return &Error{File: r.file, Position: at, What: what, Err: err}
}

// Next gives the next record, io.EOF after the last, or an *Error. After an error it gives the same error again.
func (r *Reader) Next() (*Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	rec, err := r.next()
	r.err = err
	return rec, err
}

func (r *Reader) next() (*Record, error) {
	if err := r.skipBlank(); err != nil {
		return nil, err
	}
	rec := &Record{Position: r.position()}
	sum := sha256.New()
	if err := r.readHead(rec, sum); err != nil {
		return nil, err
	}
	body := io.LimitReader(io.TeeReader(readerFunc(r.readText), sum), rec.Length)
	var n int64
	var err error
	if rec.Length > r.MaxBlock {
		rec.Oversize = true
		n, err = io.Copy(io.Discard, body)
	} else {
		var block bytes.Buffer // grows with what is really there, not with what the header promises
		n, err = io.Copy(&block, body)
		rec.Block = block.Bytes()
	}
	if err != nil {
		return nil, r.damage(rec.Position, "record cannot be read to its end", cause(err))
	}
	if n != rec.Length {
		return nil, r.damage(rec.Position, fmt.Sprintf("record is cut off: %d of %d block bytes are there", n, rec.Length), nil)
	}
	sum.Sum(rec.SHA256[:0])
	return rec, nil
}

// skipBlank moves over the empty lines between records, and into the next member where one ends.
func (r *Reader) skipBlank() error {
	for {
		b, err := r.text.Peek(1)
		switch {
		case len(b) == 1 && (b[0] == '\r' || b[0] == '\n'):
			r.text.Discard(1)
			r.read.n++
		case len(b) == 1:
			return nil
		case !errors.Is(err, io.EOF):
			return r.damage(r.position(), "cannot be uncompressed", cause(err))
		case r.member == nil:
			return io.EOF
		default:
			if err := r.nextMember(); err != nil {
				return err
			}
		}
	}
}

func (r *Reader) readHead(rec *Record, sum io.Writer) error {
	budget := maxHeaderBytes
	line, err := r.readLine(&budget, sum)
	if err != nil {
		return r.damage(rec.Position, "record has no version line", cause(err))
	}
	if !strings.HasPrefix(line, "WARC/") || len(line) > 16 {
		return r.damage(rec.Position, fmt.Sprintf("expected a WARC version line, found %.24q", line), nil)
	}
	rec.Version = line
	for {
		if line, err = r.readLine(&budget, sum); err != nil {
			return r.damage(rec.Position, "record header is cut off or too long", cause(err))
		}
		if line == "" {
			break
		}
		if rec.Header, err = appendField(rec.Header, line); err != nil {
			return r.damage(rec.Position, "record header", err)
		}
	}
	length := rec.Header.Get("Content-Length")
	rec.Length, err = strconv.ParseInt(length, 10, 64)
	if err != nil || rec.Length < 0 {
		return r.damage(rec.Position, fmt.Sprintf("Content-Length is %.24q, not a byte count", length), nil)
	}
	return nil
}

// readLine gives one line without its line end, taking its bytes from budget.
func (r *Reader) readLine(budget *int, sum io.Writer) (string, error) {
	var line []byte
	for {
		b, err := r.text.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		r.read.n++
		if *budget--; *budget < 0 {
			return "", fmt.Errorf("more than %d bytes", maxHeaderBytes)
		}
		line = append(line, b)
		if b == '\n' {
			break
		}
	}
	sum.Write(line)
	return strings.TrimRight(string(line), "\r\n"), nil
}

func (r *Reader) readText(p []byte) (int, error) {
	n, err := r.text.Read(p)
	r.read.n += int64(n)
	return n, err
}

// appendField parses a header line; a line that begins with a blank continues the one before.
func appendField(h Header, line string) (Header, error) {
	if line[0] == ' ' || line[0] == '\t' {
		if len(h) == 0 {
			return h, errors.New("begins with a continuation line")
		}
		h[len(h)-1].Value += " " + strings.TrimSpace(line)
		return h, nil
	}
	if len(h) == maxHeaderLines {
		return h, fmt.Errorf("more than %d lines", maxHeaderLines)
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return h, fmt.Errorf("line %.40q has no colon", line)
	}
	return append(h, Field{strings.TrimSpace(name), strings.TrimSpace(value)}), nil
}

// cause says "unexpected end" where a plain EOF would read as if all were well.
func cause(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// counter is a byte source that knows how many bytes have been taken. It gives gzip single bytes, so that gzip
// never reads past the end of a member.
type counter struct {
	src *bufio.Reader
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.src.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
