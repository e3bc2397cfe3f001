package tokenizer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// smallTexts is a generated corpus in several scripts: the same for everyone.
func smallTexts() []string {
	stems := []string{"water", "Haus", "maison", "Straße", "ποταμός", "река", "дом", "水", "村の土地", "قرية", "ग्राम", "หมู่บ้าน", "XMLHttp", "naïve"}
	rng := rand.New(rand.NewPCG(1, 2))
	texts := make([]string, 200)
	for i := range texts {
		var b strings.Builder
		for range 40 {
			b.WriteString(stems[int(rng.Float64()*rng.Float64()*float64(len(stems)))])
			b.WriteString([]string{" ", " ", " ", ", ", ".\n", "s ", " 42 ", "\n\n"}[rng.IntN(8)])
		}
		b.WriteString("write to <email-pii> <s>now</s>")
		texts[i] = b.String()
	}
	return texts
}

func trainSmall(t testing.TB, opt TrainOptions) *Tokenizer {
	t.Helper()
	tok, err := Train(slices.Values(smallTexts()), opt)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestGolden pins the bytes of tokenizer.json; see docs/formats.md.
func TestGolden(t *testing.T) {
	const want = "d8505672d03f8bb3eee149cc30fdeb8204f55842e721d4d7fd91191356750008"
	tok := trainSmall(t, TrainOptions{VocabSize: 450})
	if got := tok.Digest().String(); got != want {
		t.Errorf("digest of the small tokenizer is %s, want %s", got, want)
	}
}

// Where text is cut depends on Unicode's tables, which come with Go. When this
// fails, compare the splits of the characters that the new version added.
func TestUnicodeVersion(t *testing.T) {
	if unicode.Version != "15.0.0" {
		t.Errorf("Go has Unicode %s; shards so far were cut with 15.0.0", unicode.Version)
	}
}

func TestTrainDoesNotDependOnOrderOrWorkers(t *testing.T) {
	want := trainSmall(t, TrainOptions{VocabSize: 450, Workers: 1}).Digest()
	texts := smallTexts()
	slices.Reverse(texts)
	for _, workers := range []int{1, 2, 7} {
		tok, err := Train(slices.Values(texts), TrainOptions{VocabSize: 450, Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Digest(); got != want {
			t.Errorf("%d workers, reversed texts: digest %s, want %s", workers, got, want)
		}
	}
}

func TestTrainBounds(t *testing.T) {
	for _, size := range []int{0, 328, maxVocab + 1} {
		if _, err := Train(slices.Values(smallTexts()), TrainOptions{VocabSize: size}); err == nil {
			t.Errorf("a vocabulary of %d was accepted", size)
		}
	}
	tok := trainSmall(t, TrainOptions{VocabSize: 329})
	if tok.VocabSize() != 329 {
		t.Errorf("vocabulary of %d without merges, want 329", tok.VocabSize())
	}
	tok, err := Train(slices.Values([]string{"abab"}), TrainOptions{VocabSize: 2048})
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 330 { // "ab" occurs twice, "abab" once
		t.Errorf("vocabulary of %d from four letters, want 330", tok.VocabSize())
	}
}

func TestTrainOnOneEndlessWord(t *testing.T) {
	texts := []string{strings.Repeat("a", 1<<20), strings.Repeat("хліб", 1<<17)}
	tok, err := Train(slices.Values(texts), TrainOptions{VocabSize: 400})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(tok.Marshal()); err != nil {
		t.Error(err)
	}
}

func TestApertusIDs(t *testing.T) {
	tok := trainSmall(t, TrainOptions{VocabSize: 400})
	for name, want := range map[string]int32{
		"<unk>": Unk, "<s>": BOS, "</s>": EOS, "<pad>": Pad, "<SPECIAL_4>": 4, "<SPECIAL_13>": 13,
		`\begin{`: 14, `\boxed{`: 17, "<filename>": 18, "<reponame>": 31, "<think>": 32, "</answer>": 35,
		"<iban-pii>": 36, "<email-pii>": 37, "<ip-pii>": 38, "<file_sep>": 39, "<intermediate_to_code>": 41,
		"<pr>": 42, "<pr_diff_hunk_comment_line>": 57, "<|fim_begin|>": 58, "<|system_start|>": 61,
		"<|user_start|>": 65, "<|assistant_end|>": 68, "<|inner_prefix|>": 69, "<|tools_suffix|>": 72, "!": 73,
	} {
		if got, ok := tok.ID(name); !ok || got != want {
			t.Errorf("ID(%q) = %d, %t; want %d", name, got, ok, want)
		}
	}
	if _, ok := tok.ID("no such token"); ok {
		t.Error("ID found a token that is not there")
	}
}

// A document must not be able to end itself or to speak as the assistant.
func TestTextCannotInjectControlTokens(t *testing.T) {
	tok := trainSmall(t, TrainOptions{VocabSize: 400})
	for id, name := range apertusTokens {
		got := tok.Encode("a" + name + "b")
		recognised := slices.Contains(got, int32(id))
		if want := id >= 14 && id <= 17 || id >= 36 && id <= 38; recognised != want {
			t.Errorf("%q in text is recognised: %t, want %t", name, recognised, want)
		}
		for _, other := range got {
			if int(other) < len(apertusTokens) && int(other) != id {
				t.Errorf("%q in text gives the added token %d", name, other)
			}
		}
	}
	got := tok.Encode("<ip-pii><email-pii>")
	if want := []int32{38, 37}; !slices.Equal(got, want) {
		t.Errorf("placeholders give %v, want %v", got, want)
	}
}

func TestDecodeUnknownID(t *testing.T) {
	tok := trainSmall(t, TrainOptions{VocabSize: 400})
	if got, want := tok.Decode([]int32{-1, BOS, 1 << 30}), "\uFFFD<s>\uFFFD"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// dumbMerge is BPE by the book: find the merge of lowest rank anywhere, apply
// it to the leftmost place, start over.
func dumbMerge(t *Tokenizer, word string) []int32 {
	if id, ok := t.words[word]; ok && t.ignoreMerges {
		return []int32{id}
	}
	var ids []int32
	for i := range len(word) {
		ids = append(ids, t.byteIDs[word[i]])
	}
	for {
		best, at := merge{rank: 1 << 30}, -1
		for i := range len(ids) - 1 {
			if m, ok := t.merges[pair{ids[i], ids[i+1]}]; ok && m.rank < best.rank {
				best, at = m, i
			}
		}
		if at < 0 {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, best.id)
	}
}

func TestMergeAgainstDumb(t *testing.T) {
	tok := trainSmall(t, TrainOptions{VocabSize: 600})
	plain := tok.definition
	plain.ignoreMerges = false
	strict, err := build(plain)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	corpus := strings.Join(smallTexts(), "")
	for range 3000 {
		start := rng.IntN(len(corpus) - 100)
		word := corpus[start : start+1+rng.IntN(99)]
		for _, tok := range []*Tokenizer{tok, strict} {
			var m merger
			want := dumbMerge(tok, word)
			for range 2 { // the second time from the cache
				if got := tok.appendWord(nil, word, &m); !slices.Equal(got, want) {
					t.Fatalf("%q gives %v, want %v", word, got, want)
				}
			}
		}
	}
}

// dumbLearn counts all pairs afresh for every merge.
func dumbLearn(tokens []string, byteIDs [256]int32, counts wordCounts, vocabSize int, minCount int64) []pair {
	tokens = slices.Clone(tokens)
	ids := make(map[string]int32)
	for b, id := range byteIDs {
		ids[string([]byte{byte(b)})] = id
	}
	words := make(map[string][]int32)
	for word := range counts {
		for i := range len(word) {
			words[word] = append(words[word], byteIDs[word[i]])
		}
	}
	var merges []pair
	for len(tokens) < vocabSize {
		pairs := make(map[pair]int64)
		for word, parts := range words {
			for i := range len(parts) - 1 {
				pairs[pair{parts[i], parts[i+1]}] += counts[word]
			}
		}
		var best pair
		for p, n := range pairs {
			b := pairs[best]
			if n > b || n == b && (p.left < best.left || p.left == best.left && p.right < best.right) {
				best = p
			}
		}
		if pairs[best] < minCount {
			return merges
		}
		text := tokens[best.left] + tokens[best.right]
		id, ok := ids[text]
		if !ok {
			id = int32(len(tokens))
			ids[text] = id
			tokens = append(tokens, text)
		}
		if !slices.Contains(merges, best) {
			merges = append(merges, best)
		}
		for word, parts := range words {
			for i := 0; i+1 < len(parts); i++ {
				if parts[i] == best.left && parts[i+1] == best.right {
					parts = slices.Replace(parts, i, i+2, id)
				}
			}
			words[word] = parts
		}
	}
	return merges
}

func TestLearnAgainstDumb(t *testing.T) {
	base, err := build(apertusBase())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for trial := range 200 {
		counts := make(wordCounts)
		for range 1 + rng.IntN(30) {
			word := make([]byte, 1+rng.IntN(20)) // few letters: overlaps, ties, one token by two ways
			for i := range word {
				word[i] = "ab"[rng.IntN(2)]
				if trial%2 == 0 {
					word[i] = "abcd"[rng.IntN(4)]
				}
			}
			counts[string(word)] += int64(1 + rng.IntN(3))
		}
		const size = 329 + 60
		want := dumbLearn(base.tokens, base.byteIDs, counts, size, 2)
		l := newLearner(base.tokens, base.byteIDs, counts)
		for len(l.tokens) < size && l.step(2) {
		}
		if !slices.Equal(l.merges, want) {
			t.Fatalf("trial %d: merges %v, want %v", trial, l.merges, want)
		}
	}
}

func TestConcurrentEncode(t *testing.T) {
	tok := trainSmall(t, TrainOptions{VocabSize: 450})
	texts := smallTexts()
	want := make([][]int32, len(texts))
	fresh := trainSmall(t, TrainOptions{VocabSize: 450})
	for i, text := range texts {
		want[i] = fresh.Encode(text)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, text := range texts {
				if got := tok.Encode(text); !slices.Equal(got, want[i]) {
					t.Errorf("text %d differs when encoded concurrently", i)
				}
			}
		})
	}
	wg.Wait()
}

// Text without a place to cut must not take quadratic time: at n² steps this
// would not end within the time the tests have.
func TestHostileText(t *testing.T) {
	tok := trainSmall(t, TrainOptions{VocabSize: 600})
	for _, unit := range []string{"a", "water", "水", "  ", "\n ", "/\n", "\u0301A", "<", "\xff", "Aa\u02b0", "'"} {
		size := 1 << 18
		if unit == "water" {
			size = 1 << 20
		}
		text := strings.Repeat(unit, size/len(unit))
		if got := tok.Decode(tok.Encode(text)); got != text {
			t.Errorf("%d bytes of %q do not come back", size, unit)
		}
	}
}

func FuzzEncodeDecode(f *testing.F) {
	tok := trainSmall(f, TrainOptions{VocabSize: 450})
	for _, text := range smallTexts()[:3] {
		f.Add(text)
	}
	f.Add("\xff\xfe<s>\\begin{<ip-pii>\u0301ABC \t\r\n/")
	f.Fuzz(func(t *testing.T, text string) {
		ids := tok.Encode(text)
		if got := tok.Decode(ids); got != text {
			t.Errorf("%q comes back as %q", text, got)
		}
		for _, split := range []func(string) int{splitTekken, splitGPT2} {
			for rest := text; rest != ""; {
				n := split(rest)
				if n < 1 || n > len(rest) {
					t.Fatalf("a pre-token of %d bytes at %q", n, rest)
				}
				rest = rest[n:]
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := trainSmall(b, TrainOptions{VocabSize: 600})
	text := strings.Join(smallTexts(), "\n")
	b.SetBytes(int64(len(text)))
	var ids []int32
	for b.Loop() {
		ids = tok.Append(ids[:0], text)
	}
}

func BenchmarkEncodeEndlessWord(b *testing.B) {
	tok := trainSmall(b, TrainOptions{VocabSize: 600})
	text := strings.Repeat("waterHaus", 1<<20/9)
	var m merger
	b.SetBytes(int64(len(text)))
	var ids []int32
	for b.Loop() {
		ids = m.merge(ids[:0], text, tok)
	}
}

func BenchmarkSplit(b *testing.B) {
	text := strings.Join(smallTexts(), "\n")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		for rest := text; rest != ""; {
			rest = rest[splitTekken(rest):]
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	texts := smallTexts()
	for b.Loop() {
		if _, err := Train(slices.Values(texts), TrainOptions{VocabSize: 2048}); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleTrain() {
	texts := []string{"the village, the meadow, the well", "the people of the village"}
	tok, err := Train(slices.Values(texts), TrainOptions{VocabSize: 340})
	if err != nil {
		fmt.Println(err)
		return
	}
	ids := tok.Encode("the well")
	for _, id := range ids {
		fmt.Printf("%d=%q ", id, tok.Decode([]int32{id}))
	}
	fmt.Println()
	// Output: 330="the" 293=" " 159="w" 141="e" 331="ll"
}
