package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/allmend-network/allmend/shards/build/warc"
)

const (
	maxFiles   = 1_000_000
	zstdWindow = 128 << 20 // bytes; a file that asks for more is refused
)

// Source is the input of a build: files in a fixed order. It is not safe for concurrent use.
type Source struct {
	files    []input
	problems []Problem
	skipped  []Problem
}

type input struct {
	name   string // Origin.File
	path   string // where it lies
	format format
}

type format int

const (
	unknownFormat format = iota
	warcFormat
	jsonlFormat
	textFormat
)

// formatOf tells the format by the file's name, and whether it is compressed, "gz" or "zst".
func formatOf(name string) (f format, compression string) {
	name = strings.ToLower(name)
	for _, c := range []string{"gz", "zst"} {
		if base, ok := strings.CutSuffix(name, "."+c); ok {
			name, compression = base, c
		}
	}
	switch path.Ext(name) {
	case ".warc", ".wet": // CC-MAIN-….warc.wet.gz holds the same records, with text in them
		return warcFormat, compression
	case ".jsonl", ".ndjson":
		return jsonlFormat, compression
	case ".json":
		if compression != "" { // Dolma names JSON lines .json.gz; a bare .json is rarely lines
			return jsonlFormat, compression
		}
	case ".txt", ".text", ".md":
		return textFormat, compression
	}
	return unknownFormat, compression
}

// Open lists the files of paths: WARC(.gz), JSONL(.gz, .zst), plain text (.txt, .md, also .gz, .zst) and folders of
// them, which are walked in the order of names. In folders other files are left out and reported as a problem, hidden ones
// silently; a path named outright must exist and be readable.
func Open(paths []string) (*Source, error) {
	s := &Source{}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("build: input %s cannot be opened; check the path: %w", p, err)
		}
		base := filepath.Base(filepath.Clean(p))
		if info.IsDir() {
			err = s.walk(p, base)
		} else if f, _ := formatOf(base); f == unknownFormat {
			err = fmt.Errorf("build: input %s: cannot tell its format; name it .warc(.gz), .jsonl(.gz|.zst) or .txt(.gz)", p)
		} else {
			s.files = append(s.files, input{base, p, f})
		}
		if err != nil {
			return nil, err
		}
	}
	if len(s.files) == 0 {
		return nil, fmt.Errorf("build: no WARC, JSONL or text file in %s", strings.Join(paths, ", "))
	}
	return s, nil
}

func (s *Source) walk(root, base string) error {
	// WalkDir visits in lexical order, which makes the order of documents a fact about the input.
	return filepath.WalkDir(root, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("build: input folder %s: %w", root, err)
		}
		if p != root && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return fmt.Errorf("build: input folder %s: %w", root, err)
		}
		name := path.Join(base, filepath.ToSlash(rel))
		f, _ := formatOf(entry.Name())
		if f == unknownFormat {
			s.skipped = append(s.skipped, Problem{File: name, What: "left out: neither WARC, JSONL nor plain text by its name"})
			return nil
		}
		if len(s.files) == maxFiles {
			return fmt.Errorf("build: input folder %s holds more than %d files", root, maxFiles)
		}
		s.files = append(s.files, input{name, p, f})
		return nil
	})
}

// Files gives the names of the files, in order.
func (s *Source) Files() []string {
	var names []string
	for _, f := range s.files {
		names = append(names, f.name)
	}
	return names
}

// Problems gives what could not be read, in the order found: files left out by Open, then damage met by Documents.
func (s *Source) Problems() []Problem {
	return append(append([]Problem(nil), s.skipped...), s.problems...)
}

func (s *Source) report(file string, at warc.Position, what string) {
	s.problems = append(s.problems, Problem{file, at, what})
}

// Documents yields every document in order of file and position. Damage is reported by Problems and the reading goes on
// behind it where possible, else with the next file. A failure to open a file is yielded as an error and ends the sequence.
// It may be called again and then yields the same.
func (s *Source) Documents() iter.Seq2[*Document, error] {
	return func(yield func(*Document, error) bool) {
		s.problems = nil
		for order, in := range s.files {
			more, err := s.readFile(order, in, func(d *Document) bool { return yield(d, nil) })
			if err != nil {
				yield(nil, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

func (s *Source) readFile(order int, in input, yield func(*Document) bool) (more bool, err error) {
	file, err := os.Open(in.path)
	if err != nil {
		return false, fmt.Errorf("build: input %s cannot be opened: %w", in.name, err)
	}
	defer file.Close()
	origin := Origin{File: in.name, Order: order}
	if in.format == warcFormat {
		return s.readWARC(file, origin, yield), nil
	}
	text, closeText, err := uncompressed(in.path, file)
	if err != nil {
		s.report(in.name, warc.Position{}, err.Error())
		return true, nil
	}
	defer closeText()
	if in.format == jsonlFormat {
		return s.readLines(text, origin, yield), nil
	}
	return s.readText(text, origin, yield), nil
}

// stream is the uncompressed bytes of a file.
type stream struct {
	io.Reader
	compressed bool
}

// at is the position of the n-th uncompressed byte.
func (s stream) at(n int64) warc.Position {
	if s.compressed {
		return warc.Position{Within: n}
	}
	return warc.Position{Offset: n}
}

func uncompressed(name string, src io.Reader) (stream, func(), error) {
	switch _, compression := formatOf(name); compression {
	case "gz":
		r, err := gzip.NewReader(src)
		if err != nil {
			return stream{}, nil, fmt.Errorf("gzip header is damaged: %w", unexpected(err))
		}
		return stream{r, true}, func() { r.Close() }, nil
	case "zst":
		r, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return stream{}, nil, fmt.Errorf("zstd header is damaged: %w", unexpected(err))
		}
		return stream{r, true}, r.Close, nil
	}
	return stream{src, false}, func() {}, nil
}

// unexpected says "unexpected end" where a plain EOF would read as if all were well.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
