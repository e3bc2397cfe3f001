package tokenizer

import "fmt"

// The parts of tokenizer.json that do not depend on the vocabulary. Parse
// compares by value, so other files may order and space them as they like.
const (
	gpt2PreTokenizerJSON = `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}`
	byteLevelOnlyJSON    = `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}`
	decoderJSON          = `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}`

	bosToken      = "<s>"
	bosPostJSON   = `{"type": "TemplateProcessing", "single": [` + bosPieceJSON + `, ` + seqAPieceJSON + `], "pair": [` + bosPieceJSON + `, ` + seqAPieceJSON + `, {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}`
	bosPieceJSON  = `{"SpecialToken": {"id": "<s>", "type_id": 0}}`
	seqAPieceJSON = `{"Sequence": {"id": "A", "type_id": 0}}`
)

// json returns p as it stands in tokenizer.json.
func (p preTokenizer) json() string {
	if p == gpt2 {
		return gpt2PreTokenizerJSON
	}
	split := append([]byte(nil), `{"type": "Split", "pattern": {"Regex": `...)
	split = appendQuoted(split, tekkenPattern)
	return fmt.Sprintf(`{"type": "Sequence", "pretokenizers": [%s}, "behavior": "Isolated", "invert": false}, %s]}`, split, byteLevelOnlyJSON)
}

// appendJSON appends the canonical tokenizer.json of d: this order of keys, one
// token or merge per line, everything but `"`, `\` and control characters
// written as itself, and a newline at the end.
func (d *definition) appendJSON(b []byte) []byte {
	b = append(b, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": ["...)
	for i, a := range d.added {
		b = appendComma(b, i)
		b = fmt.Appendf(b, "\n    {\"id\": %d, \"content\": ", a.id)
		b = appendQuoted(b, d.tokens[a.id])
		b = fmt.Appendf(b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": %t}", a.special)
	}
	post := "null"
	if d.bos {
		post = bosPostJSON
	}
	b = fmt.Appendf(b, "\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": %s,\n  \"post_processor\": %s,\n  \"decoder\": %s,\n",
		d.preTokenizer.json(), post, decoderJSON)
	b = append(b, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"...)
	b = append(b, "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"...)
	b = fmt.Appendf(b, "    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"ignore_merges\": %t,\n    \"vocab\": {", d.ignoreMerges)
	spelled := d.spelled()
	for id, token := range spelled {
		b = appendComma(b, id)
		b = append(b, "\n      "...)
		b = appendQuoted(b, token)
		b = fmt.Appendf(b, ": %d", id)
	}
	b = append(b, "\n    },\n    \"merges\": ["...)
	for rank, p := range d.mergeList {
		b = appendComma(b, rank)
		b = append(b, "\n      "...)
		b = appendQuoted(b, spelled[p.left]+" "+spelled[p.right])
	}
	return append(b, "\n    ]\n  }\n}\n"...)
}

// spelled returns the names of the tokens by id: ordinary ones in the byte-level
// alphabet, added ones as they are.
func (d *definition) spelled() []string {
	names := make([]string, len(d.tokens))
	for id, text := range d.tokens {
		names[id] = string(appendSpelled(nil, text))
	}
	for _, a := range d.added {
		names[a.id] = d.tokens[a.id]
	}
	return names
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

// appendQuoted appends s, which is UTF-8, as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
