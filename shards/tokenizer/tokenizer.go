// Package tokenizer is byte-level byte-pair encoding: text to token ids and
// back, for tokenizers written in Hugging Face tokenizer.json form.
//
// A tokenizer has a digest, the SHA-256 of its canonical tokenizer.json, which
// a run's Spec pins. Text is cut into pre-tokens (see [Train] for the rule),
// each pre-token into bytes, and neighbouring parts are merged in the order in
// which training learnt the merges. Nothing is lost: Decode(Encode(s)) == s
// for every string of bytes s, valid UTF-8 or not.
package tokenizer

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/allmend-network/allmend/verify/digest"
)

// Ids of the control tokens in every tokenizer that [Train] makes, as in
// Apertus. A tokenizer of another family read by [Parse] may differ: ask ID.
const (
	Unk int32 = 0 // <unk>, never produced: every byte has a token
	BOS int32 = 1 // <s>, begins a document
	EOS int32 = 2 // </s>, ends a document
	Pad int32 = 3 // <pad>
)

// Bounds on what Parse accepts and Train makes.
const (
	maxVocab      = 1 << 20 // tokens
	maxTokenBytes = 4096    // bytes of text that one token stands for
)

// A Tokenizer turns text into token ids and back. It is immutable and safe for
// concurrent use.
type Tokenizer struct {
	definition

	split    func(string) int // length of the first pre-token of a text that is not empty
	words    map[string]int32 // ordinary token by the bytes it stands for
	byteIDs  [256]int32       // ordinary token of each byte
	merges   map[pair]merge
	literals literals
	file     []byte // canonical tokenizer.json
	sum      digest.Sum

	seed  maphash.Seed
	cache wordCache
}

// definition is what tokenizer.json says; all the rest of a Tokenizer follows
// from it.
type definition struct {
	preTokenizer preTokenizer
	ignoreMerges bool     // a pre-token that is a token is not merged but taken whole
	bos          bool     // Hugging Face's post-processor puts <s> before each text; Encode does not
	tokens       []string // by id: the bytes each token stands for
	added        []addedToken
	mergeList    []pair // by rank
}

// addedToken is a token that stands outside of the merges.
type addedToken struct {
	id      int32
	special bool
}

// pair is two neighbouring token ids.
type pair struct{ left, right int32 }

// merge says what a pair becomes; a lower rank goes first.
type merge struct{ rank, id int32 }

// build checks d and derives the tables of a Tokenizer from it.
func build(d definition) (*Tokenizer, error) {
	t := &Tokenizer{
		definition: d,
		split:      d.preTokenizer.split(),
		words:      make(map[string]int32, len(d.tokens)),
		merges:     make(map[pair]merge, len(d.mergeList)),
		seed:       maphash.MakeSeed(),
	}
	isAdded := make(map[int32]bool, len(d.added))
	for _, a := range d.added {
		isAdded[a.id] = true
		if !a.special || inlineSpecial(d.tokens[a.id]) {
			t.literals.add(d.tokens[a.id], a.id)
		}
	}
	names := make(map[string]bool, len(d.tokens))
	for id, name := range d.spelled() {
		if names[name] {
			return nil, fmt.Errorf("two tokens are both written %.80q in tokenizer.json", name)
		}
		names[name] = true
		text := d.tokens[id]
		if len(text) == 0 || len(text) > maxTokenBytes {
			return nil, fmt.Errorf("token %d stands for %d bytes; allowed are 1 to %d", id, len(text), maxTokenBytes)
		}
		if !isAdded[int32(id)] {
			t.words[text] = int32(id)
		}
	}
	for b := range t.byteIDs {
		id, ok := t.words[string([]byte{byte(b)})]
		if !ok {
			return nil, fmt.Errorf("the vocabulary has no token for byte %#02x; byte-level BPE needs all 256", b)
		}
		t.byteIDs[b] = id
	}
	for rank, p := range d.mergeList {
		text := d.tokens[p.left] + d.tokens[p.right]
		id, ok := t.words[text]
		if !ok || isAdded[p.left] || isAdded[p.right] {
			return nil, fmt.Errorf("merge %d of tokens %d and %d does not give an ordinary token of the vocabulary", rank, p.left, p.right)
		}
		if _, twice := t.merges[p]; twice {
			return nil, fmt.Errorf("merge %d of tokens %d and %d is listed twice", rank, p.left, p.right)
		}
		t.merges[p] = merge{rank: int32(rank), id: id}
	}
	if d.bos && (len(d.added) < 2 || d.added[1].id != BOS || d.tokens[BOS] != bosToken) {
		return nil, fmt.Errorf("the post-processor puts %s before a text, but that is not the added token %d", bosToken, BOS)
	}
	t.literals.finish()
	t.file = d.appendJSON(nil)
	t.sum = digest.Of(t.file)
	return t, nil
}

// Encode returns the token ids of plain text, without <s> or </s> around them.
//
// Text cannot smuggle in control tokens: a "<s>" in it is encoded as the three
// characters it is. Two kinds of added token are recognised, the first that
// begins and of those the longest: tokens not marked special (in Apertus
// `\begin{`, `\end{`, `\text{`, `\boxed{`) and the three placeholders
// <iban-pii>, <email-pii> and <ip-pii> that masking leaves in a document. For
// text that names no other added token, Hugging Face tokenizers gives the same
// ids, behind its <s>.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.Append(make([]int32, 0, len(text)/3+1), text)
}

// Append appends the token ids of text to dst, as [Tokenizer.Encode] does, and
// returns the extended slice.
func (t *Tokenizer) Append(dst []int32, text string) []int32 {
	var m merger
	for text != "" {
		at, length, id := t.literals.find(text)
		dst = t.appendPlain(dst, text[:at], &m)
		if length > 0 {
			dst = append(dst, id)
		}
		text = text[at+length:]
	}
	return dst
}

func (t *Tokenizer) appendPlain(dst []int32, text string, m *merger) []int32 {
	for text != "" {
		n := t.split(text)
		dst = t.appendWord(dst, text[:n], m)
		text = text[n:]
	}
	return dst
}

// Decode returns the bytes that ids stand for. Added tokens appear as their
// names; an id outside of the vocabulary appears as U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.tokens) {
			b.WriteRune('\uFFFD')
			continue
		}
		b.WriteString(t.tokens[id])
	}
	return b.String()
}

// VocabSize returns the number of tokens; ids are 0 … VocabSize-1.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// ID returns the id of the token that stands for exactly the given text, an
// added token before an ordinary one.
func (t *Tokenizer) ID(token string) (int32, bool) {
	for _, a := range t.added {
		if t.tokens[a.id] == token {
			return a.id, true
		}
	}
	id, ok := t.words[token]
	return id, ok
}

// Marshal returns the canonical tokenizer.json, byte for byte the same for
// equal tokenizers; [Parse] reads it back. The caller owns the bytes.
func (t *Tokenizer) Marshal() []byte { return bytes.Clone(t.file) }

// Digest returns the SHA-256 of [Tokenizer.Marshal].
func (t *Tokenizer) Digest() digest.Sum { return t.sum }
