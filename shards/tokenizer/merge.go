package tokenizer

import (
	"hash/maphash"
	"math"
	"sync/atomic"
)

// appendWord appends the ids of one pre-token.
func (t *Tokenizer) appendWord(dst []int32, word string, m *merger) []int32 {
	if len(word) == 1 {
		return append(dst, t.byteIDs[word[0]])
	}
	if t.ignoreMerges {
		if id, ok := t.words[word]; ok {
			return append(dst, id)
		}
	}
	if len(word) > maxCachedBytes {
		return m.merge(dst, word, t)
	}
	slot := t.cache.slot(maphash.String(t.seed, word))
	if e := slot.Load(); e != nil && e.word == word {
		return append(dst, e.ids...)
	}
	start := len(dst)
	dst = m.merge(dst, word, t)
	slot.Store(newCacheEntry(word, dst[start:]))
	return dst
}

const (
	maxCachedBytes = 64
	cacheSlots     = 1 << 14
)

// wordCache remembers the ids of recent words: one word per slot, found by its
// hash, the newest stays. It is bounded and needs no lock; what it holds never
// changes a result.
type wordCache [cacheSlots]atomic.Pointer[cacheEntry]

type cacheEntry struct {
	word string
	ids  []int32
}

func (c *wordCache) slot(hash uint64) *atomic.Pointer[cacheEntry] { return &c[hash%cacheSlots] }

// newCacheEntry copies both, so that the cache keeps no document alive.
func newCacheEntry(word string, ids []int32) *cacheEntry {
	return &cacheEntry{word: string([]byte(word)), ids: append([]int32(nil), ids...)}
}

// merger applies merges to one word: always the one of lowest rank anywhere in
// the word, the leftmost of those, until none is left. With n bytes that takes
// O(n log n): parts are a linked list, and a heap holds the candidates.
//
// Its slices are scratch space that is used again for the next word.
type merger struct {
	parts []part
	heap  []candidate
}

// part is a stretch of the word that is one token, kept at its first byte.
type part struct {
	id         int32
	prev, next int32 // index of the neighbouring parts, -1 at the ends
	rank       int32 // of the merge with next; noRank if there is none or this part is gone
}

const noRank = -1

// candidate is rank<<32 | index of the left part, so that the smallest goes
// first. It is stale if the part's rank has changed since.
type candidate uint64

// merge appends the ids of word to dst. It panics on a word of 2 GiB or more.
func (m *merger) merge(dst []int32, word string, t *Tokenizer) []int32 {
	if len(word) > math.MaxInt32 {
		panic("tokenizer: a word of 2 GiB or more")
	}
	m.parts, m.heap = m.parts[:0], m.heap[:0]
	for i := range len(word) {
		m.parts = append(m.parts, part{id: t.byteIDs[word[i]], prev: int32(i) - 1, next: int32(i) + 1, rank: noRank})
	}
	m.parts[len(word)-1].next = -1
	for i := range m.parts {
		m.offer(int32(i), t)
	}
	for len(m.heap) > 0 {
		c := m.pop()
		left := int32(uint32(c))
		p := &m.parts[left]
		if p.rank != int32(c>>32) {
			continue
		}
		right := m.parts[p.next]
		m.parts[p.next].rank = noRank
		p.id = t.merges[pair{p.id, right.id}].id
		p.next = right.next
		if p.next >= 0 {
			m.parts[p.next].prev = left
		}
		m.offer(left, t)
		if p.prev >= 0 {
			m.offer(p.prev, t)
		}
	}
	for i := int32(0); i >= 0; i = m.parts[i].next {
		dst = append(dst, m.parts[i].id)
	}
	return dst
}

// offer looks up the merge of part i with the next one and makes it a candidate.
func (m *merger) offer(i int32, t *Tokenizer) {
	p := &m.parts[i]
	p.rank = noRank
	if p.next < 0 {
		return
	}
	if to, ok := t.merges[pair{p.id, m.parts[p.next].id}]; ok {
		p.rank = to.rank
		m.push(candidate(to.rank)<<32 | candidate(i))
	}
}

func (m *merger) push(c candidate) {
	h := append(m.heap, c)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up] <= c {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = c
	m.heap = h
}

func (m *merger) pop() candidate {
	h := m.heap
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	m.heap = h
	i := 0
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if last <= h[child] {
			break
		}
		h[i] = h[child]
		i = child
	}
	if len(h) > 0 {
		h[i] = last
	}
	return top
}
