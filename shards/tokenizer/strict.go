package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

const (
	maxFileBytes = 64 << 20
	maxDepth     = 16
)

// checkJSON refuses what encoding/json lets pass: repeated keys, bytes that are
// no UTF-8, deep nesting, and anything after the value.
func checkJSON(b []byte) error {
	if len(b) > maxFileBytes {
		return fmt.Errorf("%d bytes; allowed are %d", len(b), maxFileBytes)
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := checkValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("something follows the JSON value at byte %d", dec.InputOffset())
	}
	return nil
}

func checkValue(dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("nested deeper than %d at byte %d", maxDepth, dec.InputOffset())
	}
	seen := make(map[string]bool)
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name := key.(string) // the decoder takes no other key
			if seen[name] {
				return fmt.Errorf("key %.80q is repeated at byte %d", name, dec.InputOffset())
			}
			seen[name] = true
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
