package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// shared opens a file of the real test data beside the repository, which is not
// part of it.
func shared(t testing.TB, name string) io.Reader {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	file, err := os.Open(filepath.Join(dir, "..", "shared", "data", name))
	if err != nil {
		t.Skipf("real test data is not here: %v", err)
	}
	t.Cleanup(func() { file.Close() })
	if !strings.HasSuffix(name, ".gz") {
		return file
	}
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	return unzipped
}

func readShared(t testing.TB, name string) []byte {
	t.Helper()
	b, err := io.ReadAll(io.LimitReader(shared(t, name), 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadGPT2(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Parse(readShared(t, "tokenizer/gpt2-tokenizer.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func pieces(split func(string) int, text string) []string {
	list := []string{}
	for text != "" {
		n := split(text)
		list = append(list, text[:n])
		text = text[n:]
	}
	return list
}

func TestGPT2Published(t *testing.T) {
	var vector struct {
		Text string  `json:"text"`
		IDs  []int32 `json:"token_ids"`
	}
	if err := json.Unmarshal(readShared(t, "tokenizer/gpt2-published-vector.json"), &vector); err != nil {
		t.Fatal(err)
	}
	if got := loadGPT2(t).Encode(vector.Text); !slices.Equal(got, vector.IDs) {
		t.Errorf("got %v, want %v", got, vector.IDs)
	}
}

// TestVectors compares the ids of GPT-2 and the pre-tokens of tekken with those
// of an independent implementation. That one recognises <|endoftext|> in text;
// Encode does not, so a control token is set by hand here, as framing would.
func TestVectors(t *testing.T) {
	tok := loadGPT2(t)
	const control = "<|endoftext|>"
	lines := bufio.NewScanner(shared(t, "tokenizer/vectors-gpt2.jsonl"))
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		var vector struct {
			Text   string   `json:"text"`
			Tekken []string `json:"tekken_split"`
			GPT2   []int32  `json:"gpt2"`
		}
		if err := json.Unmarshal(lines.Bytes(), &vector); err != nil {
			t.Fatal(err)
		}
		n++
		if got := pieces(splitTekken, vector.Text); !slices.Equal(got, vector.Tekken) {
			t.Errorf("%q: tekken gives\n%q, want\n%q", vector.Text, got, vector.Tekken)
		}
		var got []int32
		for i, part := range strings.Split(vector.Text, control) {
			if i > 0 {
				id, _ := tok.ID(control)
				got = append(got, id)
			}
			got = tok.Append(got, part)
		}
		if !slices.Equal(got, vector.GPT2) {
			t.Errorf("%q: GPT-2 gives\n%v, want\n%v", vector.Text, got, vector.GPT2)
		}
	}
	if err := lines.Err(); err != nil || n == 0 {
		t.Errorf("read %d vectors: %v", n, err)
	}
}

func TestTrainedMerges(t *testing.T) {
	var want struct {
		Merges [][2]string `json:"merges"`
	}
	if err := json.Unmarshal(readShared(t, "tokenizer/bpe-train-pride-first250000chars-gpt2split-600merges.json"), &want); err != nil {
		t.Fatal(err)
	}
	// The reference read the file in text mode, so its line ends are "\n".
	text := strings.ReplaceAll(string(readShared(t, "text/en-pride-and-prejudice-1342.txt")), "\r\n", "\n")
	for i, chars := 0, 0; i < len(text); chars++ {
		if chars == 250_000 {
			text = text[:i]
			break
		}
		_, width := utf8.DecodeRuneInString(text[i:])
		i += width
	}
	d := definition{preTokenizer: gpt2}
	for _, b := range alphabet {
		d.tokens = append(d.tokens, string([]byte{b}))
	}
	base, err := build(d)
	if err != nil {
		t.Fatal(err)
	}
	l := newLearner(d.tokens, base.byteIDs, countWords(slices.Values([]string{text}), base, 1))
	for len(l.merges) < len(want.Merges) && l.step(2) {
	}
	for i, p := range l.merges {
		got := [2]string{string(appendSpelled(nil, l.tokens[p.left])), string(appendSpelled(nil, l.tokens[p.right]))}
		if got != want.Merges[i] {
			t.Fatalf("merge %d is %q, want %q", i, got, want.Merges[i])
		}
	}
	if len(l.merges) != len(want.Merges) {
		t.Errorf("%d merges, want %d", len(l.merges), len(want.Merges))
	}
}

func TestGPT2RoundTrips(t *testing.T) {
	tok := loadGPT2(t)
	again, err := Parse(tok.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if string(again.Marshal()) != string(tok.Marshal()) {
		t.Error("Parse(Marshal) does not give the same bytes")
	}
}

func BenchmarkGPT2Encode(b *testing.B) {
	tok := loadGPT2(b)
	text := string(readShared(b, "text/en-tinyshakespeare.txt.gz"))
	b.SetBytes(int64(len(text)))
	var ids []int32
	for b.Loop() {
		ids = tok.Append(ids[:0], text)
	}
}

func BenchmarkTrainReal(b *testing.B) {
	text := string(readShared(b, "text/en-tinyshakespeare.txt.gz"))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Train(slices.Values([]string{text}), TrainOptions{VocabSize: 2048}); err != nil {
			b.Fatal(err)
		}
	}
}
