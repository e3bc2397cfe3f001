package warc

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// maxCodings bounds the content codings of one body, each of which can blow it up to the limit.
const maxCodings = 4

// Response is the HTTP answer inside a response record.
type Response struct {
	Status int
	Header Header
	Body   []byte // transfer and content encodings undone
	// Damage says why Body is shorter than it should be, or stays encoded; "" if nothing is wrong.
	Damage string
}

// HTTP parses the block as an HTTP answer. limit bounds the decoded body in bytes.
// It returns an error when the block is no HTTP answer; damage inside the body is told in Response.Damage.
func (r *Record) HTTP(limit int64) (*Response, error) {
	head, body, ok := splitHTTP(r.Block)
	if !ok {
		return nil, fmt.Errorf("warc: record at %s: block holds no complete HTTP header", r.Position)
	}
	lines := strings.Split(strings.ReplaceAll(string(head), "\r\n", "\n"), "\n")
	resp := &Response{}
	proto, rest, _ := strings.Cut(lines[0], " ")
	code, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(proto, "HTTP/") || err != nil || status < 100 || status > 999 {
		return nil, fmt.Errorf("warc: record at %s: HTTP status line is %.40q", r.Position, lines[0])
	}
	resp.Status = status
	for _, line := range lines[1:] {
		if line == "" {
			continue
		}
		// Servers send broken lines; the page is still there, so such a line is left out.
		if h, err := appendField(resp.Header, line); err == nil {
			resp.Header = h
		}
	}
	resp.decode(body, limit)
	return resp, nil
}

func (p *Response) decode(body []byte, limit int64) {
	if strings.EqualFold(p.Header.Get("Transfer-Encoding"), "chunked") {
		whole, err := dechunk(body)
		switch {
		case err == nil:
			body = whole
		case len(whole) > 0:
			body, p.Damage = whole, err.Error()
		default: // archivers often store the body unchunked and keep the header
		}
	}
	codings := strings.Split(p.Header.Get("Content-Encoding"), ",")
	if len(codings) > maxCodings {
		p.Body, p.Damage = nil, fmt.Sprintf("%d content encodings, more than %d", len(codings), maxCodings)
		return
	}
	for i := len(codings) - 1; i >= 0; i-- {
		coding := strings.ToLower(strings.TrimSpace(codings[i]))
		decoded, err := uncompress(coding, body, limit)
		if err != nil {
			p.Damage = err.Error()
		}
		body = decoded
	}
	if int64(len(body)) > limit {
		body, p.Damage = body[:limit], fmt.Sprintf("body is longer than %d bytes", limit)
	}
	p.Body = body
}

// uncompress undoes one content coding. What could be read is returned beside the error.
func uncompress(coding string, body []byte, limit int64) ([]byte, error) {
	var src io.Reader
	var err error
	switch {
	case coding == "" || coding == "identity" || len(body) == 0:
		return body, nil
	case coding == "gzip" || coding == "x-gzip":
		if !bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
			return body, nil // already undone by the archiver, who kept the header
		}
		src, err = gzip.NewReader(bytes.NewReader(body))
	case coding == "deflate":
		// RFC 9110 means zlib, some servers send bare deflate.
		if src, err = zlib.NewReader(bytes.NewReader(body)); err != nil {
			src, err = flate.NewReader(bytes.NewReader(body)), nil
		}
	default:
		return nil, fmt.Errorf("content encoding %.20q is not supported", coding)
	}
	if err != nil {
		return nil, fmt.Errorf("content encoding %s: %w", coding, cause(err))
	}
	var out bytes.Buffer
	if _, err = io.Copy(&out, io.LimitReader(src, limit+1)); err != nil {
		return out.Bytes(), fmt.Errorf("content encoding %s: %w", coding, cause(err))
	}
	return out.Bytes(), nil
}

// dechunk undoes chunked transfer encoding. What could be read is returned beside the error.
func dechunk(body []byte) ([]byte, error) {
	out := make([]byte, 0, len(body))
	in := bufio.NewReader(bytes.NewReader(body))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return out, errors.New("chunked body is cut off")
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
		if err != nil {
			return out, fmt.Errorf("chunk size is %.20q", size)
		}
		if n == 0 {
			return out, nil
		}
		if n > uint64(len(body)) {
			return out, errors.New("chunked body is cut off")
		}
		chunk := make([]byte, n)
		got, err := io.ReadFull(in, chunk)
		out = append(out, chunk[:got]...)
		if err != nil {
			return out, errors.New("chunked body is cut off")
		}
		if end, err := in.ReadString('\n'); err != nil || strings.TrimSpace(end) != "" {
			return out, errors.New("chunk does not end where its size says")
		}
	}
}

// splitHTTP cuts a block at the empty line after the header.
func splitHTTP(block []byte) (head, body []byte, ok bool) {
	crlf, lf := bytes.Index(block, []byte("\r\n\r\n")), bytes.Index(block, []byte("\n\n"))
	switch {
	case crlf >= 0 && (lf < 0 || crlf < lf):
		return block[:crlf], block[crlf+4:], crlf <= maxHeaderBytes
	case lf >= 0:
		return block[:lf], block[lf+2:], lf <= maxHeaderBytes
	}
	return nil, nil, false
}

// Verdict is the outcome of comparing a digest with the bytes it names.
type Verdict int

// The verdicts.
const (
	Absent   Verdict = iota // no digest was written, or its algorithm is not known here
	Match                   // the bytes have this digest
	Mismatch                // they do not
)

// BlockDigest checks WARC-Block-Digest over the block.
func (r *Record) BlockDigest() Verdict {
	return checkDigest(r.Header.Get("WARC-Block-Digest"), r.Block)
}

// PayloadDigest checks WARC-Payload-Digest. The payload of an HTTP message is what follows its header, as it came over
// the wire; of other records it is the block.
func (r *Record) PayloadDigest() Verdict {
	payload := r.Block
	if strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/http") {
		_, body, ok := splitHTTP(r.Block)
		if !ok {
			body = nil
		}
		payload = body
	}
	return checkDigest(r.Header.Get("WARC-Payload-Digest"), payload)
}

func checkDigest(label string, data []byte) Verdict {
	algorithm, value, ok := strings.Cut(strings.TrimSpace(label), ":")
	if !ok {
		return Absent
	}
	var sum []byte
	switch strings.ToLower(algorithm) {
	case "sha1", "sha-1":
		s := sha1.Sum(data)
		sum = s[:]
	case "sha256", "sha-256":
		s := sha256.Sum256(data)
		sum = s[:]
	default:
		return Absent
	}
	plain := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum)
	if strings.EqualFold(strings.TrimRight(value, "="), plain) || strings.EqualFold(value, hex.EncodeToString(sum)) {
		return Match
	}
	return Mismatch
}
