// Package goldfish decides which labels the training loss leaves out, so that
// a model cannot learn long passages word for word.
//
// It is the variant Apertus was trained with (Hans et al., arXiv 2406.10209,
// strategy "hash-table"): whether a label counts depends on the last h labels
// only, so that the same passage is masked in the same places wherever it
// occurs. Trainer, evaluation and replay call it; devices see a 0/1 mask.
package goldfish

import (
	"fmt"
	"sync"
)

// tableSize is a prime, and seed the 47th Fibonacci number, a prime too. Both
// are Apertus' choices.
const (
	tableSize = 1_000_003
	seed      = 2971215073
)

// table holds the uniform variates that torch.rand(1000003) draws on a CPU
// from a generator with this seed, times 2²⁴, which makes them integers.
var table = sync.OnceValue(func() []uint32 {
	g := newMersenne(seed)
	t := make([]uint32, tableSize)
	for i := range t {
		t[i] = g.next() & (1<<24 - 1)
	}
	return t
})

// Mask returns one byte for each label: 1 where the loss counts, 0 where it is
// left out. About one label in k is left out, chosen by the product of the h
// labels that end with it; the first h-1 labels always count. k = 0 turns the
// mask off: every byte is 1.
//
// The product wraps around as a signed 64-bit integer. Even labels gather
// factors of two, so a product over a long window is often 0, which the table
// maps to "counts": with h = 50 fewer than one label in k is left out. That is
// how Apertus was trained, and is kept.
//
// Mask panics if k is negative, or if h < 1 while k > 0.
func Mask(labels []int32, k, h int) []byte {
	if k < 0 || k > 0 && h < 1 {
		panic(fmt.Sprintf("goldfish: k = %d, h = %d", k, h))
	}
	mask := make([]byte, len(labels))
	for i := range mask {
		mask[i] = 1
	}
	if k == 0 {
		return mask
	}
	table := table()
	for t := h - 1; t < len(labels); t++ {
		product := int64(1)
		for _, id := range labels[t-h+1 : t+1] {
			product *= int64(id)
		}
		if dropped(table[floorMod(product)], k) {
			mask[t] = 0
		}
	}
	return mask
}

// dropped reports u/2²⁴ < 1/k, with 1/k rounded to float32 as torch compares
// it. Both sides are exact in float64.
func dropped(u uint32, k int) bool {
	return float64(u)/(1<<24) < float64(float32(1/float64(k)))
}

// floorMod returns the remainder of p by the table size, never negative.
func floorMod(p int64) int64 {
	m := p % tableSize
	if m < 0 {
		m += tableSize
	}
	return m
}
