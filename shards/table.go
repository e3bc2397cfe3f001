package shards

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime/debug"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Document is a row of a documents file: one document kept, in the order of
// the token stream.
type Document struct {
	Text               string  `parquet:"text"`                 // as tokenized: personal data masked
	SHA256             string  `parquet:"sha256"`               // of text, in hexadecimal
	URL                string  `parquet:"url"`                  // "" if it has none
	Domain             string  `parquet:"domain,dict"`          // host of the URL, lower case
	Date               string  `parquet:"date"`                 // RFC 3339, when it was fetched; "" if unknown
	Licence            string  `parquet:"licence,dict"`         // SPDX expression; "" if unknown
	Language           string  `parquet:"language,dict"`        // ISO 639-3 code, or "und"
	Script             string  `parquet:"script,dict"`          // Unicode script name
	LanguageConfidence float32 `parquet:"language_confidence"`  // 0 … 1, in steps of 1/1000
	Robots             string  `parquet:"robots,dict"`          // "allowed" or "unknown"
	RobotsSHA256       string  `parquet:"robots_sha256,dict"`   // of the robots.txt that says so, in hexadecimal; "" if there was none
	RobotsEvidence     string  `parquet:"robots_evidence,dict"` // where that robots.txt was found and what decided
	PIIEmail           int32   `parquet:"pii_email"`            // e-mail addresses masked
	PIIIP              int32   `parquet:"pii_ip"`               // IP addresses masked
	PIIIBAN            int32   `parquet:"pii_iban"`             // IBANs masked
	SourceFile         string  `parquet:"source_file,dict"`     // input it came from, relative to what the builder was given
	SourceOffset       int64   `parquet:"source_offset"`        // where in it, in bytes of the file as it lies on disk
	SourceWithin       int64   `parquet:"source_within"`        // and uncompressed bytes from there
	SourceSHA256       string  `parquet:"source_sha256"`        // of the record, line or text there, uncompressed
	TokenStart         int64   `parquet:"token_start"`          // first token in the stream: its <s>
	TokenEnd           int64   `parquet:"token_end"`            // behind its </s>
}

// Dropped is a row of a dropped file: one document that was left out, in the
// order of the input. It holds no text and no path of the document.
type Dropped struct {
	Stage        string `parquet:"stage,dict"`
	Rule         string `parquet:"rule,dict"`
	Evidence     string `parquet:"evidence"`  // what the rule found
	Host         string `parquet:"host,dict"` // of the URL; "" if it has none
	PathHash     string `parquet:"path_hash"` // [PathHash] of the URL's path and query
	SourceFile   string `parquet:"source_file,dict"`
	SourceOffset int64  `parquet:"source_offset"`
	SourceWithin int64  `parquet:"source_within"`
}

// Row is a row of one of the Parquet files of a shard folder.
type Row interface{ Document | Dropped }

const (
	rowGroupRows  = 1 << 15
	rowGroupBytes = 16 << 20 // of text in one row group
	maxFooter     = 64 << 20 // bytes of Parquet metadata that are read
	maxRowBytes   = 64 << 20 // bytes of text in one document
	readRows      = 64       // rows decoded at a time
)

// TableWriter writes a Parquet file whose bytes depend on its rows only: zstd,
// no time, no random name, row groups cut by row and text size.
type TableWriter[T Row] struct {
	w     *parquet.GenericWriter[T]
	rows  int
	bytes int
}

// NewTableWriter returns a writer of rows to w.
func NewTableWriter[T Row](w io.Writer) *TableWriter[T] {
	return &TableWriter[T]{w: parquet.NewGenericWriter[T](w,
		parquet.CreatedBy("allmend", "1", "shards"),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
		parquet.SkipPageBounds("text"),
	)}
}

// Write appends one row.
func (t *TableWriter[T]) Write(row T) error {
	if _, err := t.w.Write([]T{row}); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	t.rows++
	if d, ok := any(row).(Document); ok {
		t.bytes += len(d.Text)
	}
	if t.rows < rowGroupRows && t.bytes < rowGroupBytes {
		return nil
	}
	t.rows, t.bytes = 0, 0
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// Close writes the footer. It does not close the file below.
func (t *TableWriter[T]) Close() error {
	if err := t.w.Close(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// Rows reads a Parquet file of size bytes row by row. It ends with an error
// when the file is damaged or has other columns. Check the file's digest first
// where there is one: damage that the library below does not notice may show
// as other rows.
func Rows[T Row](r io.ReaderAt, size int64) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		stopped := false
		err := readTable(r, size, func(row T) bool {
			stopped = !yield(row, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(zero, fmt.Errorf("parquet: %w", err))
		}
	}
}

// errPanic wraps what the Parquet library panics with on some damaged files.
var errPanic = errors.New("the file is damaged")

func readTable[T Row](r io.ReaderAt, size int64, use func(T) bool) error {
	table, err := openTable[T](r, size)
	if err != nil {
		return err
	}
	defer table.Close()
	rows := make([]T, readRows)
	for {
		n, err := readSome(table, rows)
		for _, row := range rows[:n] {
			if !use(row) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errPanic
		}
	}
}

func openTable[T Row](r io.ReaderAt, size int64) (table *parquet.GenericReader[T], err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverInto(&err)
	var tail [8]byte
	if size < int64(len(tail)) {
		return nil, fmt.Errorf("a file of %d bytes is too short", size)
	}
	if _, err := r.ReadAt(tail[:], size-int64(len(tail))); err != nil {
		return nil, err
	}
	if footer := int64(binary.LittleEndian.Uint32(tail[:])); footer > maxFooter || footer > size {
		return nil, fmt.Errorf("a footer of %d bytes in a file of %d", footer, size)
	}
	file, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return nil, err
	}
	if !parquet.EqualNodes(file.Schema(), parquet.SchemaOf(new(T))) {
		return nil, fmt.Errorf("it has other columns than a table of this kind")
	}
	for _, g := range file.Metadata().RowGroups {
		if g.TotalByteSize < 0 || g.TotalByteSize > 2*(rowGroupBytes+maxRowBytes) {
			return nil, fmt.Errorf("a row group of %d bytes", g.TotalByteSize)
		}
	}
	return parquet.NewGenericReader[T](file), nil
}

// readSome decodes some rows. On a damaged file the library panics or follows a
// stray pointer, which SetPanicOnFault makes a panic too.
func readSome[T Row](table *parquet.GenericReader[T], rows []T) (n int, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if err != nil && err != io.EOF {
			n = 0 // rows that were being written when it happened
		}
	}()
	defer recoverInto(&err)
	return table.Read(rows)
}

func recoverInto(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errPanic, p)
	}
}
