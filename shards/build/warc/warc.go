// Package warc is the web archive file: records read one after the other, with their place in the file and their digests checked, and written.
//
// It reads WARC 0.17 to 1.1, plain, with one gzip member per record or with one member around all (ISO 28500).
// A Reader holds one record in memory, never more than its limit, and stops at the first damage with an *Error that
// names file and offset; the records before it have been handed out and stay good.
package warc

import (
	"fmt"
	"strings"
)

// DefaultMaxBlock bounds the block of one record in bytes; longer blocks are skipped and reported as Oversize.
const DefaultMaxBlock = 64 << 20

const (
	maxHeaderBytes = 64 << 10
	maxHeaderLines = 256
)

// Field is one "Name: value" line of a record or HTTP header.
type Field struct{ Name, Value string }

// Header is the fields of a record or HTTP message in file order.
type Header []Field

// Get gives the first value of name, compared without case, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Values gives every value of name in file order.
func (h Header) Values(name string) []string {
	var out []string
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// Position is where a record begins.
type Position struct {
	// Offset counts bytes of the file as it lies on disk: for gzip, the first byte of the record's member.
	Offset int64
	// Within counts uncompressed bytes from there; it is not 0 only where one gzip member holds several records.
	Within int64
}

// Compare orders positions of one file: -1, 0 or +1.
func (p Position) Compare(q Position) int {
	switch {
	case p.Offset < q.Offset, p.Offset == q.Offset && p.Within < q.Within:
		return -1
	case p == q:
		return 0
	}
	return 1
}

func (p Position) String() string {
	if p.Within == 0 {
		return fmt.Sprintf("byte %d", p.Offset)
	}
	return fmt.Sprintf("byte %d + %d uncompressed", p.Offset, p.Within)
}

// Record is one record of a WARC file.
type Record struct {
	Position
	Version string // "WARC/1.0"
	Header  Header
	Block   []byte   // the content block; nil if Oversize
	Length  int64    // Content-Length in bytes
	SHA256  [32]byte // of the record as it stands uncompressed: version line, header, empty line and block

	// Oversize says that the block was longer than the reader's limit and was skipped.
	Oversize bool
}

// Type is the record's kind: "response", "request", "warcinfo", "conversion", ...
func (r *Record) Type() string { return strings.ToLower(r.Header.Get("WARC-Type")) }

// Date is the capture time as written, normally RFC 3339 in UTC.
func (r *Record) Date() string { return r.Header.Get("WARC-Date") }

// TargetURI is the captured address, without the <> that some writers put around it.
func (r *Record) TargetURI() string {
	uri := strings.TrimSpace(r.Header.Get("WARC-Target-URI"))
	if strings.HasPrefix(uri, "<") && strings.HasSuffix(uri, ">") {
		uri = uri[1 : len(uri)-1]
	}
	return uri
}

// Error is damage in a file: what is wrong, where.
type Error struct {
	File string
	Position
	What string
	Err  error // cause, may be nil
}

func (e *Error) Error() string {
	s := fmt.Sprintf("warc: %s: %s: %s", e.File, e.Position, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
