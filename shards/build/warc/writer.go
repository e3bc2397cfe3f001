package warc

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Writer writes WARC/1.1 records, each in a gzip member of its own. Same calls, same bytes.
type Writer struct{ dst io.Writer }

// NewWriter writes to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst} }

// Write appends one record. Content-Length and WARC-Block-Digest are added to header, and for HTTP blocks
// WARC-Payload-Digest; the caller gives WARC-Type, WARC-Record-ID, WARC-Date and the rest.
func (w *Writer) Write(header Header, block []byte) error {
	var text bytes.Buffer
	text.WriteString("WARC/1.1\r\n")
	for _, f := range header {
		if strings.ContainsAny(f.Name+f.Value, "\r\n") {
			return fmt.Errorf("warc: header field %q holds a line end", f.Name)
		}
		fmt.Fprintf(&text, "%s: %s\r\n", f.Name, f.Value)
	}
	fmt.Fprintf(&text, "WARC-Block-Digest: %s\r\n", sha1Label(block))
	if strings.HasPrefix(header.Get("Content-Type"), "application/http") {
		if _, body, ok := splitHTTP(block); ok {
			fmt.Fprintf(&text, "WARC-Payload-Digest: %s\r\n", sha1Label(body))
		}
	}
	fmt.Fprintf(&text, "Content-Length: %d\r\n\r\n", len(block))
	text.Write(block)
	text.WriteString("\r\n\r\n")

	member := gzip.NewWriter(w.dst)
	if _, err := member.Write(text.Bytes()); err != nil {
		return fmt.Errorf("warc: write record: %w", err)
	}
	if err := member.Close(); err != nil {
		return fmt.Errorf("warc: write record: %w", err)
	}
	return nil
}

func sha1Label(data []byte) string {
	sum := sha1.Sum(data)
	return "sha1:" + base32.StdEncoding.EncodeToString(sum[:])
}
