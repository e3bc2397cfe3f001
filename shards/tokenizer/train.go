package tokenizer

import (
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// TrainOptions say how large a tokenizer to train.
type TrainOptions struct {
	VocabSize int   // tokens in all: 73 added, 256 bytes, the rest merges
	MinCount  int64 // occurrences a pair needs to be merged; 0 means 2
	Workers   int   // goroutines that split text; 0 means GOMAXPROCS. No effect on the result.
}

// maxTrainWord is the length in bytes beyond which a pre-token is cut into
// pieces for training, so that no token is longer than maxTokenBytes and one
// endless word does not cost a pass over it for every merge.
const maxTrainWord = maxTokenBytes

// Train makes a tokenizer of at most opt.VocabSize tokens from texts: the added
// tokens of Apertus at ids 0 … 72, the 256 bytes, then one token per merge.
//
// Text is cut by the rule of tekken: words split where the case changes, with
// one character that is neither letter, number nor line break in front; each
// digit alone; runs of symbols; white space. Then the most frequent pair of
// neighbouring tokens is merged, of equally frequent ones that of the smallest
// (left id, right id), and so on, as the BPE trainer of Hugging Face tokenizers
// does. Occurrences may overlap: "aaa" has two pairs (a, a). Added tokens that
// Encode recognises are left out.
//
// The result depends on the texts as a set with multiplicity: not on their
// order, on Workers or on timing. Fewer tokens than asked for come out if no
// pair occurs MinCount times any more. Memory grows with the number of different
// pre-tokens, not with the length of the texts.
func Train(texts iter.Seq[string], opt TrainOptions) (*Tokenizer, error) {
	d := apertusBase()
	if opt.VocabSize < len(d.tokens) || opt.VocabSize > maxVocab {
		return nil, fmt.Errorf("train a tokenizer: a vocabulary of %d tokens; allowed are %d (added tokens and bytes) to %d", opt.VocabSize, len(d.tokens), maxVocab)
	}
	if opt.MinCount == 0 {
		opt.MinCount = 2
	}
	base, err := build(d)
	if err != nil {
		return nil, fmt.Errorf("train a tokenizer: %w", err)
	}
	workers := opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	l := newLearner(d.tokens, base.byteIDs, countWords(texts, base, workers))
	for len(l.tokens) < opt.VocabSize && l.step(opt.MinCount) {
	}
	d.tokens, d.mergeList = l.tokens, l.merges
	return build(d)
}

// apertusBase is the tokenizer without merges.
//
// ignore_merges is on because llama.cpp takes it so for every tekken tokenizer:
// this way all readers of the file agree, also on a token that its own merges
// would not reach.
func apertusBase() definition {
	d := definition{preTokenizer: tekken, ignoreMerges: true, bos: true, added: apertusAdded()}
	d.tokens = append(d.tokens, apertusTokens...)
	for _, b := range alphabet {
		d.tokens = append(d.tokens, string([]byte{b}))
	}
	return d
}

// wordCounts says how often each pre-token occurs.
type wordCounts map[string]int64

// countWords splits texts on several goroutines. Sums do not depend on who adds.
func countWords(texts iter.Seq[string], t *Tokenizer, workers int) wordCounts {
	queue := make(chan string, workers)
	counts := make([]wordCounts, workers)
	var wg sync.WaitGroup
	for w := range counts {
		counts[w] = make(wordCounts)
		wg.Go(func() {
			for text := range queue {
				counts[w].addText(text, t)
			}
		})
	}
	for text := range texts {
		queue <- text
	}
	close(queue)
	wg.Wait()
	total := counts[0]
	for _, c := range counts[1:] {
		for word, n := range c {
			total[word] += n
		}
	}
	return total
}

// addText counts the pre-tokens of text outside of recognised added tokens.
func (c wordCounts) addText(text string, t *Tokenizer) {
	for text != "" {
		at, length, _ := t.literals.find(text)
		for plain := text[:at]; plain != ""; {
			n := t.split(plain)
			c.addWord(plain[:n])
			plain = plain[n:]
		}
		text = text[at+length:]
	}
}

func (c wordCounts) addWord(word string) {
	for ; len(word) > maxTrainWord; word = word[maxTrainWord:] {
		c.add(word[:maxTrainWord])
	}
	c.add(word)
}

// add clones a new word, so that the counts keep no document alive.
func (c wordCounts) add(word string) {
	if _, ok := c[word]; !ok {
		word = strings.Clone(word)
	}
	c[word]++
}

// sorted returns the words in byte order.
func (c wordCounts) sorted() []string { return slices.Sorted(maps.Keys(c)) }
