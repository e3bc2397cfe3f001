package tokenizer

import (
	"cmp"
	"container/heap"
	"slices"
)

// learner finds merges one after the other. Invariant between steps: for each
// pair, pairs[p].count = Σ over words of (occurrences of p in the word) × (count
// of the word).
type learner struct {
	words  []learnWord
	tokens []string         // by id
	ids    map[string]int32 // of ordinary tokens
	merges []pair
	pairs  map[pair]*pairCount
	queue  pairQueue
}

type learnWord struct {
	ids   []int32
	count int64
}

type pairCount struct {
	count int64
	words []int32 // every word that has the pair; some twice, some have it no more
	done  bool    // already a merge
}

// newLearner starts from tokens, of which byteIDs are the bytes.
func newLearner(tokens []string, byteIDs [256]int32, counts wordCounts) *learner {
	l := &learner{
		tokens: slices.Clone(tokens),
		ids:    make(map[string]int32, len(tokens)),
		pairs:  make(map[pair]*pairCount),
	}
	for b, id := range byteIDs {
		l.ids[string([]byte{byte(b)})] = id
	}
	for _, word := range counts.sorted() {
		w := learnWord{ids: make([]int32, len(word)), count: counts[word]}
		for i := range len(word) {
			w.ids[i] = byteIDs[word[i]]
		}
		index := int32(len(l.words))
		l.words = append(l.words, w)
		for i := range len(word) - 1 {
			l.add(pair{w.ids[i], w.ids[i+1]}, index, w.count)
		}
	}
	for p, c := range l.pairs {
		l.queue = append(l.queue, queued{pair: p, count: c.count})
	}
	heap.Init(&l.queue) // compares totally, so map order leaves no trace
	return l
}

// add counts n occurrences of p in a word, or takes away -n.
func (l *learner) add(p pair, word int32, n int64) {
	c := l.pairs[p]
	if c == nil {
		c = new(pairCount)
		l.pairs[p] = c
	}
	c.count += n
	if n > 0 && (len(c.words) == 0 || c.words[len(c.words)-1] != word) {
		c.words = append(c.words, word)
	}
}

// step merges the most frequent pair and reports whether there was one that
// occurs at least minCount times.
func (l *learner) step(minCount int64) bool {
	for len(l.queue) > 0 {
		top := l.queue[0]
		c := l.pairs[top.pair]
		if top.count != c.count {
			l.requeue(c.count)
			continue
		}
		if c.count < max(minCount, 1) {
			return false
		}
		heap.Pop(&l.queue)
		l.apply(top.pair, c)
		return true
	}
	return false
}

// requeue gives the top of the queue its true count, or drops it.
func (l *learner) requeue(count int64) {
	if count == 0 {
		heap.Pop(&l.queue)
		return
	}
	l.queue[0].count = count
	heap.Fix(&l.queue, 0)
}

// apply merges p in all words. The new token may be there already, made of
// another pair; and a pair merged before may occur again with such a token,
// which then is no new merge.
func (l *learner) apply(p pair, c *pairCount) {
	text := l.tokens[p.left] + l.tokens[p.right]
	id, ok := l.ids[text]
	if !ok {
		id = int32(len(l.tokens))
		l.tokens = append(l.tokens, text)
		l.ids[text] = id
	}
	if !c.done {
		c.done = true
		l.merges = append(l.merges, p)
	}
	words := c.words
	c.words = nil
	slices.Sort(words)
	rose := make(map[pair]bool)
	for _, index := range slices.Compact(words) {
		l.applyTo(index, p, id, rose)
	}
	for q := range rose {
		if n := l.pairs[q].count; n > 0 {
			heap.Push(&l.queue, queued{pair: q, count: n})
		}
	}
}

// applyTo merges p to id in one word, from left to right, and keeps the counts.
func (l *learner) applyTo(index int32, p pair, id int32, rose map[pair]bool) {
	w := &l.words[index]
	old := w.ids
	out := old[:0]
	for i := 0; i < len(old); i++ {
		if i+1 == len(old) || old[i] != p.left || old[i+1] != p.right {
			out = append(out, old[i])
			continue
		}
		l.add(p, index, -w.count)
		if len(out) > 0 {
			before := out[len(out)-1]
			l.add(pair{before, p.left}, index, -w.count)
			l.add(pair{before, id}, index, w.count)
			rose[pair{before, id}] = true
		}
		if i+2 < len(old) {
			after := old[i+2]
			l.add(pair{p.right, after}, index, -w.count)
			l.add(pair{id, after}, index, w.count)
			rose[pair{id, after}] = true
		}
		out = append(out, id)
		i++
	}
	w.ids = out
}

// pairQueue is a heap of pairs, the most frequent first, then the smallest.
// Invariant: a pair that occurs has an entry with at least its true count, as
// it is queued anew whenever that rises.
type pairQueue []queued

type queued struct {
	pair  pair
	count int64
}

func (q pairQueue) Len() int { return len(q) }

func (q pairQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.pair.left, b.pair.left), cmp.Compare(a.pair.right, b.pair.right)) < 0
}

func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *pairQueue) Push(x any) { *q = append(*q, x.(queued)) }

func (q *pairQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
