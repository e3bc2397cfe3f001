package allreduce

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// vectors returns n contributions of a length: finite, of magnitudes so far
// apart that any other order of additions gives other bits, with zeros of both
// signs and subnormals among them.
func vectors(n, length int) [][]float32 {
	all := make([][]float32, n)
	for rank := range all {
		r := rand.New(rand.NewPCG(uint64(length), uint64(rank)))
		all[rank] = make([]float32, length)
		for i := range all[rank] {
			bits := r.Uint64()
			const signAndFraction = 1<<31 | 1<<23 - 1
			x := uint32(bits) & signAndFraction // a zero or, more often, a subnormal
			switch kind := bits >> 60; kind {
			case 0:
				x &= 1 << 31
			case 1:
			default:
				x |= (112 + uint32(bits>>32)%32) << 23
			}
			all[rank][i] = math.Float32frombits(x)
		}
	}
	return all
}

// difference returns the first index at which a and b differ in any bit, or -1.
func difference(a, b []float32) int {
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// TestDumbByHand pins the order: with two chunks, the second begins at rank 1.
func TestDumbByHand(t *testing.T) {
	const big = 1 << 24 // big + 1 rounds to big, big + 2 does not
	v := [][]float32{make([]float32, 2*Align), make([]float32, 2*Align), make([]float32, 2*Align)}
	for rank, x := range []float32{big, 1, 1} {
		v[rank][0], v[rank][Align] = x, x
	}
	sum := Dumb(v)
	if sum[0] != big { // (big + 1) + 1
		t.Errorf("chunk 0: got %v, want %v", sum[0], float32(big))
	}
	if sum[Align] != big+2 { // (1 + 1) + big
		t.Errorf("chunk 1: got %v, want %v", sum[Align], float32(big+2))
	}
	if negative := float32(math.Copysign(0, -1)); math.Signbit(float64(Dumb([][]float32{{negative}, {negative}})[0])) != true {
		t.Error("-0 + -0 lost its sign: a chunk begins with a summand, not with +0")
	}
}

func TestSumIsDumb(t *testing.T) {
	for n := 1; n <= 3; n++ {
		for _, length := range []int{0, 1, n, Align + 1, 3*n*Align + 7, Piece + 2*Align + 3} {
			v := vectors(n, length)
			var sources []Source
			var reads int
			for _, x := range v {
				sources = append(sources, func(dst []float32, offset int) error {
					reads += len(dst)
					copy(dst, x[offset:])
					return nil
				})
			}
			dst := make([]float32, length)
			if err := Sum(dst, sources); err != nil {
				t.Fatal(err)
			}
			if i := difference(dst, Dumb(v)); i >= 0 {
				t.Errorf("n = %d, length %d: element %d differs", n, length, i)
			}
			if reads != n*length {
				t.Errorf("n = %d, length %d: read %d elements, want each once", n, length, reads)
			}
		}
	}
}

func TestSumNamesTheRank(t *testing.T) {
	broken := errors.New("disk on fire")
	err := Sum(make([]float32, 9), []Source{
		func([]float32, int) error { return nil },
		func([]float32, int) error { return broken },
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "rank 1") {
		t.Errorf("got %v, want the cause and rank 1", err)
	}
}
