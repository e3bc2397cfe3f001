package build

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/allmend-network/allmend/verify/digest"
)

const (
	maxLine = 16 << 20 // bytes of a JSONL line
	maxText = 1 << 20  // bytes of one document cut from a plain text file
)

// line is one document of a JSONL file, as Dolma writes it. Texts kept as a list of paragraphs are taken too.
type line struct {
	Text       *string  `json:"text"`
	Paragraphs []string `json:"paragraphs"`
	ID         any      `json:"id"`
	URL        string   `json:"url"`
	Created    string   `json:"created"`
	Metadata   struct {
		URL  string `json:"url"`
		Date string `json:"date_download"`
	} `json:"metadata"`
}

// readLines yields a document for each line and reports those that hold none.
func (s *Source) readLines(src stream, origin Origin, yield func(*Document) bool) (more bool) {
	in := bufio.NewReaderSize(src, 64<<10)
	var offset int64
	for number := 1; ; number++ {
		text, length, err := readLine(in)
		origin.Line, origin.Position = number, src.at(offset)
		offset += length
		failed := err != nil && !errors.Is(err, io.EOF)
		switch {
		case failed:
			s.report(origin.File, origin.Position, fmt.Sprintf("line %d cannot be read, the lines before it were kept: %v", number, err))
			return true
		case length > maxLine:
			s.report(origin.File, origin.Position, fmt.Sprintf("line %d is left out: %d bytes, more than %d", number, length, maxLine))
		case len(bytes.TrimSpace(text)) > 0:
			doc, err := fromLine(text, origin)
			if err != nil {
				s.report(origin.File, origin.Position, fmt.Sprintf("line %d is left out: %v", number, err))
			} else if !yield(doc) {
				return false
			}
		}
		if err != nil {
			return true
		}
	}
}

// readLine reads up to and with '\n'. Of a line longer than maxLine it gives the length only.
func readLine(in *bufio.Reader) (text []byte, length int64, err error) {
	for {
		part, err := in.ReadSlice('\n')
		length += int64(len(part))
		if length <= maxLine {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, length, err
		}
	}
}

func fromLine(text []byte, origin Origin) (*Document, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("it is no whole JSON object with a text: %w", err)
	}
	doc := &Document{Origin: origin, URL: l.URL, Date: l.Metadata.Date}
	doc.Origin.SHA256 = digest.Of(bytes.TrimRight(text, "\r\n"))
	switch {
	case l.Text != nil:
		doc.Text = *l.Text
	case l.Paragraphs != nil:
		doc.Text = strings.Join(l.Paragraphs, "\n")
	default:
		return nil, errors.New(`it has neither "text" nor "paragraphs"`)
	}
	if l.ID != nil {
		doc.ID = fmt.Sprint(l.ID)
	}
	if doc.URL == "" {
		doc.URL = l.Metadata.URL
	}
	if doc.URL == "" && (strings.HasPrefix(doc.ID, "http://") || strings.HasPrefix(doc.ID, "https://")) {
		doc.URL = doc.ID
	}
	if doc.Date == "" {
		doc.Date = l.Created
	}
	doc.Host = hostOf(doc.URL)
	return doc, nil
}

// readText yields a plain text file as documents of at most maxText bytes, cut at empty lines where there are any.
func (s *Source) readText(src stream, origin Origin, yield func(*Document) bool) (more bool) {
	var offset int64
	buf := make([]byte, 0, maxText)
	for {
		n, err := fill(src, buf[len(buf):maxText])
		buf = buf[:len(buf)+n]
		last := err != nil
		if last && !errors.Is(err, io.EOF) {
			s.report(origin.File, src.at(offset+int64(len(buf))), fmt.Sprintf("cannot be read further, what came before was kept: %v", err))
		}
		cut := len(buf)
		if !last {
			cut = cutText(buf)
		}
		if cut > 0 {
			origin.Position, origin.SHA256 = src.at(offset), digest.Of(buf[:cut])
			doc := &Document{Origin: origin, ID: path.Base(origin.File), Text: string(bytes.TrimPrefix(buf[:cut], []byte("\uFEFF")))}
			if !utf8.ValidString(doc.Text) {
				s.report(origin.File, origin.Position, "holds bytes that are not UTF-8; they were replaced")
				doc.Text = strings.ToValidUTF8(doc.Text, "\uFFFD")
			}
			if !yield(doc) {
				return false
			}
		}
		if last {
			return true
		}
		offset += int64(cut)
		buf = buf[:copy(buf, buf[cut:])]
	}
}

// fill reads until buf is full or src fails. Unlike io.ReadFull it leaves io.EOF as it is, so that a cut gzip stream,
// which says io.ErrUnexpectedEOF, is told from a whole one.
func fill(src io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = src.Read(buf[n:])
		n += m
	}
	return n, err
}

// cutText is where to end a document that goes on: behind the last empty line, line or character.
func cutText(buf []byte) int {
	if i := bytes.LastIndex(buf, []byte("\n\n")); i >= 0 {
		return i + 2
	}
	if i := bytes.LastIndexByte(buf, '\n'); i >= 0 {
		return i + 1
	}
	for end := len(buf); end > 0; end-- {
		if utf8.RuneStart(buf[end-1]) {
			if end > 1 {
				return end - 1
			}
			break
		}
	}
	return len(buf)
}
