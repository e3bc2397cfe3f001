package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// maxYAML bounds a configuration file in bytes.
const maxYAML = 64 << 10

// readYAML reads the configuration file at path into v, whose fields keep what
// they hold where the file says nothing.
func readYAML(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxYAML+1))
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	if err := parseYAML(b, v); err != nil {
		return usagef("%s: %w", path, err)
	}
	return nil
}

// parseYAML reads one document: no unknown key, none twice, nothing behind it.
func parseYAML(b []byte, v any) error {
	if len(b) > maxYAML {
		return fmt.Errorf("longer than %d bytes", maxYAML)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		return inWords(wrong.Errors)
	}
	if err != nil {
		return err
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return errors.New("more than one document; only one is read")
	}
	return nil
}

var (
	unknownField = regexp.MustCompile(`^(line \d+): field (.*) not found in type .*$`)
	wrongType    = regexp.MustCompile(`(?s)^(line \d+): cannot unmarshal !!\w+ (.*) into .*$`)
)

// inWords says yaml's errors without the names of Go types.
func inWords(lines []string) error {
	var all []error
	for _, line := range lines {
		line = unknownField.ReplaceAllString(line, "$1: unknown key $2")
		line = wrongType.ReplaceAllString(line, "$1: $2 is of the wrong type here")
		all = append(all, errors.New(line))
	}
	return errors.Join(all...)
}
