package tokenizer

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Parse reads a tokenizer.json of byte-level BPE: no normalizer, the
// pre-tokenizer of tekken or of GPT-2, and a BPE model without dropout, unknown
// token, affixes or byte fallback. Anything else is an error that names the
// field, since a tokenizer that is nearly right gives wrong ids silently. So
// are unknown or repeated keys, ids with gaps, and sizes beyond 64 MiB, 2^20
// tokens or merges, and 4096 bytes a token.
func Parse(b []byte) (*Tokenizer, error) {
	d, err := parseDefinition(b)
	if err != nil {
		return nil, fmt.Errorf("parse tokenizer.json: %w", err)
	}
	t, err := build(d)
	if err != nil {
		return nil, fmt.Errorf("parse tokenizer.json: %w", err)
	}
	return t, nil
}

func parseDefinition(b []byte) (d definition, err error) {
	if err := checkJSON(b); err != nil {
		return d, err
	}
	f, err := object("tokenizer", b, "version", "truncation", "padding", "added_tokens", "normalizer",
		"pre_tokenizer", "post_processor", "decoder", "model")
	if err != nil {
		return d, err
	}
	if err := f.want("version", `"1.0"`); err != nil {
		return d, err
	}
	for _, key := range []string{"truncation", "padding", "normalizer"} {
		if err := f.want(key, `null`, ``); err != nil {
			return d, err
		}
	}
	if d.preTokenizer, err = parsePreTokenizer(f.get("pre_tokenizer")); err != nil {
		return d, err
	}
	if d.bos, err = parsePostProcessor(f.get("post_processor")); err != nil {
		return d, err
	}
	if err := wantByteLevel("decoder", f.get("decoder")); err != nil {
		return d, err
	}
	return d, d.parseTokens(f)
}

// parseTokens fills in all that comes from "model" and "added_tokens".
func (d *definition) parseTokens(f fields) error {
	m, err := object("model", f.get("model"), "type", "dropout", "unk_token", "continuing_subword_prefix",
		"end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges")
	if err != nil {
		return err
	}
	for _, w := range [][]string{
		{"type", `"BPE"`}, {"dropout", `null`, ``}, {"unk_token", `null`, ``},
		{"continuing_subword_prefix", `null`, `""`, ``}, {"end_of_word_suffix", `null`, `""`, ``},
		{"fuse_unk", `false`, ``}, {"byte_fallback", `false`, ``}, {"ignore_merges", `true`, `false`, ``},
	} {
		if err := m.want(w[0], w[1:]...); err != nil {
			return err
		}
	}
	d.ignoreMerges = string(m.get("ignore_merges")) == "true"

	var vocab map[string]tokenID
	if err := json.Unmarshal(m.get("vocab"), &vocab); err != nil {
		return fmt.Errorf("model.vocab: %w", err)
	}
	if vocab == nil {
		return fmt.Errorf("model.vocab: null")
	}
	if d.added, err = parseAdded(f.get("added_tokens"), vocab); err != nil {
		return err
	}
	if err := d.setTokens(vocab); err != nil {
		return err
	}
	d.mergeList, err = parseMerges(m.get("merges"), vocab)
	return err
}

// tokenID is an id in JSON: digits, and nothing that encoding/json would take
// for zero.
type tokenID int32

// UnmarshalJSON implements [json.Unmarshaler].
func (id *tokenID) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 31)
	if err != nil {
		return fmt.Errorf("token id %.80q: want an integer of 0 or more", b)
	}
	*id = tokenID(n)
	return nil
}

// setTokens orders the vocabulary by id and unspells its ordinary tokens.
func (d *definition) setTokens(vocab map[string]tokenID) error {
	if len(vocab) > maxVocab {
		return fmt.Errorf("model.vocab: %d tokens; allowed are %d", len(vocab), maxVocab)
	}
	names := make([]string, len(vocab))
	for name, id := range vocab {
		if int(id) >= len(names) {
			return fmt.Errorf("model.vocab: token %.80q has id %d; %d tokens need ids 0 to %d", name, id, len(names), len(names)-1)
		}
		if names[id] != "" || name == "" {
			return fmt.Errorf("model.vocab: id %d belongs to two tokens, or to an empty one", id)
		}
		names[id] = name
	}
	isAdded := make(map[int32]bool, len(d.added))
	for _, a := range d.added {
		isAdded[a.id] = true
	}
	d.tokens = names
	for id, name := range names {
		if isAdded[int32(id)] {
			continue
		}
		text, err := unspell(name)
		if err != nil {
			return fmt.Errorf("model.vocab: %w", err)
		}
		d.tokens[id] = text
	}
	return nil
}

// parseAdded reads the added tokens and puts those that the vocabulary lacks
// into it.
func parseAdded(raw json.RawMessage, vocab map[string]tokenID) ([]addedToken, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	added := make([]addedToken, 0, len(list))
	for i, raw := range list {
		path := fmt.Sprintf("added_tokens[%d]", i)
		f, err := object(path, raw, "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
		if err != nil {
			return nil, err
		}
		for _, key := range []string{"single_word", "lstrip", "rstrip", "normalized"} {
			if err := f.want(key, `false`); err != nil {
				return nil, err
			}
		}
		if err := f.want("special", `true`, `false`); err != nil {
			return nil, err
		}
		var id tokenID
		var content string
		if err := json.Unmarshal(f.get("id"), &id); err != nil {
			return nil, fmt.Errorf("%s.id: %w", path, err)
		}
		if err := json.Unmarshal(f.get("content"), &content); err != nil {
			return nil, fmt.Errorf("%s.content: %w", path, err)
		}
		if other, ok := vocab[content]; ok && other != id {
			return nil, fmt.Errorf("%s: %.80q has id %d here and %d in model.vocab", path, content, id, other)
		}
		if len(added) > 0 && added[len(added)-1].id >= int32(id) {
			return nil, fmt.Errorf("%s: id %d is not above the one before it", path, id)
		}
		vocab[content] = id
		added = append(added, addedToken{id: int32(id), special: string(f.get("special")) == "true"})
	}
	return added, nil
}

// parseMerges reads merges written as "left right" or as ["left", "right"].
func parseMerges(raw json.RawMessage, vocab map[string]tokenID) ([]pair, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("model.merges: %w", err)
	}
	if len(list) > maxVocab {
		return nil, fmt.Errorf("model.merges: %d merges; allowed are %d", len(list), maxVocab)
	}
	merges := make([]pair, len(list))
	for rank, raw := range list {
		var parts []string
		var line string
		if err := json.Unmarshal(raw, &parts); err != nil {
			if err := json.Unmarshal(raw, &line); err != nil {
				return nil, fmt.Errorf("model.merges[%d]: %w", rank, err)
			}
			parts = strings.Split(line, " ")
		}
		if len(parts) != 2 {
			return nil, fmt.Errorf("model.merges[%d]: %d tokens; want 2", rank, len(parts))
		}
		left, okLeft := vocab[parts[0]]
		right, okRight := vocab[parts[1]]
		if !okLeft || !okRight {
			return nil, fmt.Errorf("model.merges[%d]: %.80q or %.80q is not in model.vocab", rank, parts[0], parts[1])
		}
		merges[rank] = pair{int32(left), int32(right)}
	}
	return merges, nil
}

// parsePreTokenizer recognises the two pre-tokenizers there are scanners for.
func parsePreTokenizer(raw json.RawMessage) (preTokenizer, error) {
	for _, p := range []preTokenizer{tekken, gpt2} {
		if sameJSON(raw, p.json()) {
			return p, nil
		}
	}
	// Field by field for GPT-2, whose files differ in what does not matter.
	if err := wantByteLevel("pre_tokenizer", raw); err != nil {
		return 0, fmt.Errorf("%w; implemented are the split of tekken with ByteLevel, and the ByteLevel of GPT-2", err)
	}
	f, err := object("pre_tokenizer", raw, byteLevelKeys...)
	if err != nil {
		return 0, err
	}
	if err := f.want("add_prefix_space", `false`); err != nil {
		return 0, err
	}
	return gpt2, f.want("use_regex", `true`, ``)
}

// parsePostProcessor accepts what prepends <s> or changes no ids, and reports
// which.
func parsePostProcessor(raw json.RawMessage) (bos bool, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return false, nil
	}
	if sameJSON(raw, bosPostJSON) {
		return true, nil
	}
	if err := wantByteLevel("post_processor", raw); err != nil {
		return false, fmt.Errorf("%w; implemented are none, ByteLevel, and a template that puts <s>, id 1, before the text", err)
	}
	return false, nil
}

var byteLevelKeys = []string{"type", "add_prefix_space", "trim_offsets", "use_regex"}

// wantByteLevel checks that raw is a ByteLevel component, of whatever settings.
func wantByteLevel(path string, raw json.RawMessage) error {
	var component struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &component); err != nil || component.Type != "ByteLevel" {
		return fmt.Errorf("%s: %.300s is not implemented", path, raw)
	}
	f, err := object(path, raw, byteLevelKeys...)
	if err != nil {
		return err
	}
	for _, key := range byteLevelKeys[1:] {
		if err := f.want(key, `true`, `false`, ``); err != nil {
			return err
		}
	}
	return nil
}

// sameJSON reports whether raw and want are the same value, keys in any order.
func sameJSON(raw json.RawMessage, want string) bool {
	var a, b any
	if json.Unmarshal(raw, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	return reflect.DeepEqual(a, b)
}

// fields is a JSON object of known keys, with the path that errors name.
type fields struct {
	path   string
	values map[string]json.RawMessage
}

// object reads a JSON object and refuses keys that are not known.
func object(path string, raw json.RawMessage, known ...string) (fields, error) {
	f := fields{path: path}
	if len(raw) == 0 {
		return f, fmt.Errorf("%s: missing", path)
	}
	if err := json.Unmarshal(raw, &f.values); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	for key := range f.values {
		if !slices.Contains(known, key) {
			return f, fmt.Errorf("%s: unknown key %.80q", path, key)
		}
	}
	return f, nil
}

// get returns the value of key, nothing if it is missing.
func (f fields) get(key string) json.RawMessage { return f.values[key] }

// want checks that the value of key is one of the given texts; an empty one
// stands for a missing key.
func (f fields) want(key string, allowed ...string) error {
	if got := string(f.values[key]); !slices.Contains(allowed, got) {
		return fmt.Errorf("%s: %q is %.80q; implemented: %s", f.path, key, got, strings.Join(allowed, ", "))
	}
	return nil
}
