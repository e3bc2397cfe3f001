// Package canonical writes and reads signed documents as canonical JSON
// (RFC 8785) of objects, arrays, strings, booleans and integers only.
//
// One document has one encoding: keys sorted, no spaces, no fractions, no
// duplicate or unknown keys, integers within ±(2^53 − 1) so that every JSON
// reader agrees on them. Unmarshal accepts b only if Marshal gives b back. See
// docs/formats.md, "Canonical JSON".
package canonical

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// MaxDepth bounds the nesting of a document.
	MaxDepth = 32
	// maxInt is 2^53 − 1, the largest integer every JSON reader keeps exact.
	maxInt = 1<<53 - 1
)

// Marshal returns the canonical encoding of v, which is described by the same
// struct tags as in encoding/json.
func Marshal(v any) ([]byte, error) {
	loose, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return normalise(loose)
}

// Unmarshal decodes b, of at most limit bytes, into v. It refuses unknown and
// duplicate keys, and any b that is not the canonical encoding of what it says.
func Unmarshal(b []byte, v any, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("document of %d bytes, at most %d are allowed", len(b), limit)
	}
	again, err := normalise(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("not canonical JSON: differs from its canonical form at byte %d", firstDifference(again, b))
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("canonical JSON: %w", err)
	}
	// encoding/json matches keys without regard to case and lets a missing
	// key pass; encoding again shows both.
	back, err := Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, b) {
		return fmt.Errorf("document has a missing or misspelt key near byte %d", firstDifference(back, b))
	}
	return nil
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func normalise(b []byte) ([]byte, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("canonical JSON: not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var out bytes.Buffer
	if err := value(&out, dec, 0); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("canonical JSON: data after the document")
	}
	return out.Bytes(), nil
}

func value(out *bytes.Buffer, dec *json.Decoder, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("nested deeper than %d", MaxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			return object(out, dec, depth)
		}
		return array(out, dec, depth)
	case string:
		quote(out, tok)
	case json.Number:
		n, err := strconv.ParseInt(tok.String(), 10, 64)
		if err != nil || n > maxInt || n < -maxInt {
			return fmt.Errorf("number %s: only integers within ±(2^53 − 1) are allowed", tok)
		}
		out.WriteString(strconv.FormatInt(n, 10))
	case bool:
		out.WriteString(strconv.FormatBool(tok))
	default:
		return errors.New("null is not allowed")
	}
	return nil
}

func array(out *bytes.Buffer, dec *json.Decoder, depth int) error {
	out.WriteByte('[')
	for first := true; dec.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		if err := value(out, dec, depth+1); err != nil {
			return err
		}
	}
	out.WriteByte(']')
	_, err := dec.Token()
	return err
}

func object(out *bytes.Buffer, dec *json.Decoder, depth int) error {
	type member struct {
		key   string
		order []uint16 // RFC 8785 sorts keys by UTF-16 code units
		value []byte
	}
	var members []member
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		key := tok.(string)
		var b bytes.Buffer
		if err := value(&b, dec, depth+1); err != nil {
			return err
		}
		members = append(members, member{key, utf16.Encode([]rune(key)), b.Bytes()})
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	sort.SliceStable(members, func(i, j int) bool { return lessUTF16(members[i].order, members[j].order) })
	out.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			if m.key == members[i-1].key {
				return fmt.Errorf("duplicate key %q", m.key)
			}
			out.WriteByte(',')
		}
		quote(out, m.key)
		out.WriteByte(':')
		out.Write(m.value)
	}
	out.WriteByte('}')
	return nil
}

func lessUTF16(a, b []uint16) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return len(a) < len(b)
}

// quote writes s as RFC 8785 section 3.2.2.2 says: only what must be escaped is.
func quote(out *bytes.Buffer, s string) {
	const short = "\b\f\n\r\t"
	const letters = "bfnrt"
	out.WriteByte('"')
	for _, r := range s {
		switch i := bytes.IndexRune([]byte(short), r); {
		case i >= 0:
			out.WriteByte('\\')
			out.WriteByte(letters[i])
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < 0x20:
			fmt.Fprintf(out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
}
