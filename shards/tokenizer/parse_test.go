package tokenizer

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRoundTrip(t *testing.T) {
	tok := trainSmall(t, TrainOptions{VocabSize: 450})
	file := tok.Marshal()
	var loose bytes.Buffer // the same value as other tools would write it
	if err := json.Indent(&loose, file, "", "\t"); err != nil {
		t.Fatal(err)
	}
	spelled, first := tok.spelled(), tok.mergeList[0]
	left, right := spelled[first.left], spelled[first.right]
	listed := strings.Replace(string(file), `"`+left+" "+right+`"`, `["`+left+`", "`+right+`"]`, 1)
	if listed == string(file) {
		t.Fatal("the merge that the test writes as a list is not there")
	}
	for name, b := range map[string][]byte{"canonical": file, "indented": loose.Bytes(), "merges as lists": []byte(listed)} {
		again, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(again.Marshal(), file) || again.Digest() != tok.Digest() {
			t.Errorf("%s: Parse and Marshal do not give the same bytes", name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	file := string(trainSmall(t, TrainOptions{VocabSize: 450}).Marshal())
	for _, c := range []struct{ old, new, want string }{
		{`"normalizer": null`, `"normalizer": {"type": "NFC"}`, `"normalizer" is "{\"type\": \"NFC\"}"`},
		{`"truncation": null`, `"truncation": {"max_length": 3}`, "truncation"},
		{`"padding": null`, `"padding": true`, "padding"},
		{`"version": "1.0"`, `"version": "2.0"`, "2.0"},
		{`"version": "1.0"`, `"Version": "1.0"`, `unknown key "Version"`},
		{`"version": "1.0"`, `"version": "1.0", "version": "1.0"`, `key "version" is repeated`},
		{`{"type": "Sequence", "pretokenizers"`, `{"type": "Metaspace", "pretokenizers"`, "Metaspace"},
		{`\\p{N}|`, `\\p{N}{1,3}|`, "pre_tokenizer: "},
		{`"behavior": "Isolated"`, `"behavior": "Removed"`, "pre_tokenizer: "},
		{`"post_processor": {"type": "TemplateProcessing"`, `"post_processor": {"type": "BertProcessing"`, "BertProcessing"},
		{`"decoder": {"type": "ByteLevel"`, `"decoder": {"type": "WordPiece"`, "WordPiece"},
		{`"type": "BPE"`, `"type": "Unigram"`, "Unigram"},
		{`"dropout": null`, `"dropout": 0.1`, "dropout"},
		{`"unk_token": null`, `"unk_token": "<unk>"`, "unk_token"},
		{`"end_of_word_suffix": null`, `"end_of_word_suffix": "</w>"`, "end_of_word_suffix"},
		{`"byte_fallback": false`, `"byte_fallback": true`, "byte_fallback"},
		{`"ignore_merges": true`, `"ignore_merges": 1`, "ignore_merges"},
		{`"normalized": false, "special": true}`, `"normalized": true, "special": true}`, `added_tokens[0]: "normalized"`},
		{`{"id": 0, "content": "<unk>"`, `{"id": null, "content": "<unk>"`, "added_tokens[0].id"},
		{`{"id": 1, "content": "<s>"`, `{"id": 1, "content": "</s>"`, `added_tokens[1]: "</s>" has id 1 here and 2 in model.vocab`},
		{`"<unk>": 0,`, `"<unk>": -1,`, "model.vocab: "},
		{`"<unk>": 0,`, `"<unk>": 1,`, "has id 0 here and 1 in model.vocab"},
		{`"!": 73,`, `"!": 74,`, "id 74 belongs to two tokens"},
		{`"!": 73,`, `"!": 1000000000,`, "450 tokens need ids 0 to 449"},
		{`"!": 73,`, `"!!": 73,`, "no token for byte 0x21"},
		{`"!": 73,`, `"! ": 73,`, "not in the byte-level alphabet"},
		{`"merges": [`, `"merges": ["! !",`, "merge 0 of tokens 73 and 73 does not give"},
		{`"merges": [`, `"merges": ["nope !",`, `"nope" or "!" is not in model.vocab`},
		{`"merges": [`, `"merges": ["a b c",`, "model.merges[0]: 3 tokens"},
		{`"merges": [`, `"merges": [null,`, "model.merges[0]"},
		{`"merges": [`, `"merges": [` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `,`, "nested deeper"},
		{"\n}\n", "\n}\n{}", "something follows"},
		{"<unk>", "<un\xff>", "not valid UTF-8"},
		{"\n  }\n}\n", "", "EOF"},
	} {
		if strings.Count(file, c.old) == 0 {
			t.Errorf("%s is not in the file", c.old)
			continue
		}
		_, err := Parse([]byte(strings.Replace(file, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "parse tokenizer.json: ") {
			t.Errorf("%s for %s: error %v, want one with %q", c.new, c.old, err, c.want)
		}
	}
	if _, err := Parse(make([]byte, maxFileBytes+1)); err == nil || !strings.Contains(err.Error(), "allowed are") {
		t.Errorf("an endless file: %v", err)
	}
}

// A merge that spells a control token would let a document produce it.
func TestParseRefusesMergesOfAddedTokens(t *testing.T) {
	file := string(trainSmall(t, TrainOptions{VocabSize: 329}).Marshal())
	file = strings.Replace(file, `"vocab": {`, `"vocab": {"<s": 329,`, 1)
	for merges, ok := range map[string]bool{`"< s"`: true, `"< s", "<s >"`: false, `"<s> !"`: false, `"< s", "< s"`: false} {
		_, err := Parse([]byte(strings.Replace(file, `"merges": [`, `"merges": [`+merges, 1)))
		if (err == nil) != ok {
			t.Errorf("merges %s: %v", merges, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(trainSmall(f, TrainOptions{VocabSize: 335}).Marshal())
	f.Add([]byte(`{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": null, "merges": []}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(tok.Marshal())
		if err != nil {
			t.Fatalf("Marshal gives what Parse refuses: %v", err)
		}
		if !bytes.Equal(again.Marshal(), tok.Marshal()) {
			t.Error("Parse(Marshal) does not give the same bytes")
		}
		const text = "Grüezi <s> \xff 42"
		if got := tok.Decode(tok.Encode(text)); got != text {
			t.Errorf("%q comes back as %q", text, got)
		}
	})
}
