package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// settings are flags of a long-running command that may also stand in a YAML
// file, under the same names. A flag on the command line wins over the file.
type settings struct {
	flags *pflag.FlagSet
	file  string // path, from --config
	log   struct{ level, format string }
}

func newSettings(flags *pflag.FlagSet) *settings {
	s := &settings{flags: flags}
	flags.StringVar(&s.file, "config", "", "read flags from this YAML file; keys are the flags' names, and flags given here win")
	flags.StringVar(&s.log.level, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&s.log.format, "log-format", "text", "text or json")
	return s
}

// load reads the file, if one was named.
func (s *settings) load() error {
	if s.file == "" {
		return nil
	}
	var document yaml.Node
	if err := readYAML(s.file, &document); err != nil {
		return err
	}
	if err := s.apply(&document); err != nil {
		return usagef("%s: %w", s.file, err)
	}
	return nil
}

// apply sets the flags that the command line did not.
func (s *settings) apply(document *yaml.Node) error {
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return errors.New("want keys and values, such as \"data: /var/lib/allmend\"")
	}
	pairs := document.Content[0].Content
	seen := map[string]int{}
	for i := 0; i < len(pairs); i += 2 {
		key, value := pairs[i], pairs[i+1]
		if line := seen[key.Value]; line > 0 {
			return fmt.Errorf("line %d: key %s stands already on line %d", key.Line, key.Value, line)
		}
		seen[key.Value] = key.Line
		flag := s.flags.Lookup(key.Value)
		if flag == nil || key.Value == "config" || key.Value == "help" {
			return fmt.Errorf("line %d: unknown key %s", key.Line, key.Value)
		}
		if flag.Changed {
			continue
		}
		if err := set(flag, value); err != nil {
			return fmt.Errorf("line %d: %s: %w", value.Line, key.Value, err)
		}
	}
	return nil
}

// set gives a flag the value that stands in the file.
func set(flag *pflag.Flag, value *yaml.Node) error {
	list, isList := flag.Value.(pflag.SliceValue)
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag != "!!null":
		if isList {
			return list.Replace([]string{value.Value})
		}
		return flag.Value.Set(value.Value)
	case value.Kind == yaml.SequenceNode && isList:
		var all []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: want a list of texts", item.Line)
			}
			all = append(all, item.Value)
		}
		return list.Replace(all)
	}
	return errors.New("want one value, or a list where the flag may be repeated")
}

// logger returns the logger that the settings describe; it writes to standard
// error.
func (s *settings) logger(c *console) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.log.level)); err != nil {
		return nil, usagef("--log-level %s: want debug, info, warn or error", s.log.level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch s.log.format {
	case "text":
		return slog.New(newQuiet(slog.NewTextHandler(c.err, options))), nil
	case "json":
		return slog.New(newQuiet(slog.NewJSONHandler(c.err, options))), nil
	}
	return nil, usagef("--log-format %s: want text or json", s.log.format)
}
