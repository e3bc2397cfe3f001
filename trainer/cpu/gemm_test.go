package cpu

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/trainer/exact"
)

// naive is the definition of gemm: one multiply-add at a time.
func naive(c, a, b matrix, m, n, k int, accumulate bool) {
	for i := range m {
		for j := range n {
			var sum float32
			if accumulate {
				sum = c.at(i, j).data[0]
			}
			for p := range k {
				sum += float32(exact.BF16(a.at(i, p).data[0]) * exact.BF16(b.at(p, j).data[0]))
			}
			c.at(i, j).data[0] = sum
		}
	}
}

// fill returns a rows×cols matrix with `extra` unused columns; values are ordinary unless wild.
func fill(rng *rand.Rand, rows, cols, extra int, transposed, wild bool) matrix {
	if transposed {
		rows, cols = cols, rows
	}
	x := matrix{make([]float32, rows*(cols+extra)), cols + extra, transposed}
	for i := range x.data {
		x.data[i] = float32(rng.NormFloat64())
		if wild {
			x.data[i] = wildFloat(rng)
		}
	}
	return x
}

// wildFloat returns a finite number whose products are finite: subnormals, zeros of both signs, ties of the rounding,
// neighbours of 2^-60 and 2^63, and everything between.
func wildFloat(rng *rand.Rand) float32 {
	u := rng.Uint32() & 0x807fffff
	switch rng.IntN(10) {
	case 0:
		return math.Float32frombits(u) // subnormal
	case 1:
		return math.Float32frombits(u & (1 << 31))
	case 2:
		return math.Float32frombits(u&(1<<31) | (0x217ffff0 + u&31)) // around 2^-60
	case 3:
		return math.Float32frombits(u&(1<<31) | (0x5effffff - u&0xffff)) // just below 2^63
	case 4:
		return math.Float32frombits(u&0xffff0000 | 0x3f808000) // tie
	}
	return math.Float32frombits(u | (60+uint32(rng.IntN(130)))<<23)
}

// TestGEMM holds the portable and the assembly kernels against the definition, bit for bit.
func TestGEMM(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	shapes := [][3]int{{1, 1, 1}, {6, 16, 8}, {5, 15, 7}, {7, 17, 9}, {6, 16, 1}, {1, 70, 1100}, {70, 1, 1031}, {13, 33, blockK},
		{12, 32, 2*blockK + 5}, {blockRows + 7, 35, 40}, {8, blockCols + 19, 24}, {2*blockRows + 1, 20, 11}, {128, 128, 32}, {3, 4, 0}}
	for range 60 {
		shapes = append(shapes, [3]int{1 + rng.IntN(70), 1 + rng.IntN(70), 1 + rng.IntN(70)})
	}
	for _, s := range shapes {
		for variant := range 16 {
			m, n, k := s[0], s[1], s[2]
			transA, transB, accumulate, wild := variant&1 != 0, variant&2 != 0, variant&4 != 0, variant&8 != 0
			a := fill(rng, m, k, rng.IntN(4), transA, wild)
			b := fill(rng, k, n, rng.IntN(4), transB, wild)
			c := fill(rng, m, n, rng.IntN(4), false, wild)
			want := matrix{slices.Clone(c.data), c.stride, false}
			naive(want, a, b, m, n, k, accumulate)
			for name, kn := range map[string]*kernels{"portable": &portable, "native": &native} {
				for workers := 1; workers <= 3; workers++ {
					got := matrix{slices.Clone(c.data), c.stride, false}
					if workers == 1 {
						kn.gemm(got, a, b, m, n, k, accumulate, workers)
					} else if k > 0 {
						kn.parallel(got, a, b, m, n, k, accumulate, workers)
					} else {
						continue
					}
					if i := firstDifference(got.data, want.data); i >= 0 {
						t.Fatalf("%s %d×%d×%d transA %v transB %v accumulate %v wild %v workers %d: C[%d,%d] = %g, want %g", name,
							m, n, k, transA, transB, accumulate, wild, workers, i/c.stride, i%c.stride, got.data[i], want.data[i])
					}
				}
			}
		}
	}
}

// firstDifference returns the first index whose bits differ, or -1. Which NaN it is may depend on the machine.
func firstDifference(x, y []float32) int {
	for i := range x {
		if math.Float32bits(x[i]) != math.Float32bits(y[i]) && (x[i] == x[i] || y[i] == y[i]) {
			return i
		}
	}
	return -1
}

// TestPackBF16 sends every class of bit pattern through each packer.
func TestPackBF16(t *testing.T) {
	const depth, lines = 40, 24
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		src := make([]float32, depth*lines)
		for i := range src {
			src[i] = math.Float32frombits(rng.Uint32())
			if round%2 == 0 {
				src[i] = wildFloat(rng)
			}
		}
		for _, w := range []int{tileRows, panelCols} {
			size := ceil(lines, w) * (w*depth + panelSlack)
			for _, f := range []struct {
				name         string
				got, want    func(dst []float32, panelStride, w int, src []float32, stride, lines, depth int)
				stride, k, p int
			}{
				{"across", native.packAcross, packAcrossGo, lines, lines, 1},
				{"along", native.packAlong, packAlongGo, depth, 1, depth},
			} {
				got, want := make([]float32, size), make([]float32, size)
				f.got(got, w*depth+panelSlack, w, src, f.stride, lines, depth)
				f.want(want, w*depth+panelSlack, w, src, f.stride, lines, depth)
				for p := range lines {
					for k := range depth {
						i := p/w*(w*depth+panelSlack) + k*w + p%w
						x := src[k*f.k+p*f.p]
						g, e, b := math.Float32bits(got[i]), math.Float32bits(want[i]), math.Float32bits(exact.BF16(x))
						if g != e || g != b {
							t.Fatalf("%s width %d: %08x became %08x, portable %08x, exact %08x", f.name, w, math.Float32bits(x), g, e, b)
						}
					}
				}
			}
		}
	}
}

// TestGEMMNonFinite checks that what is out of range reaches the result, where callers look for it.
func TestGEMMNonFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.Inf(1)), float32(math.NaN()), 0x1p63, -0x1.8p100} {
		for _, kn := range []*kernels{&portable, &native} {
			a, b, c := make([]float32, 20*20), make([]float32, 20*20), make([]float32, 20*20)
			a[7*20+9] = bad
			b[9*20+3] = 1
			kn.gemm(matrix{c, 20, false}, matrix{a, 20, false}, matrix{b, 20, false}, 20, 20, 20, false, 1)
			for i := range 20 {
				if exact.Finite(c[i*20:][:20]) != (i != 7) {
					t.Errorf("operand %g: row %d is wrong", bad, i)
				}
			}
		}
	}
}

func TestGEMMPanicsOnShape(t *testing.T) {
	x := make([]float32, 100)
	for name, f := range map[string]func(){
		"short A":  func() { gemm(x, 10, x[:99], 10, false, x, 10, false, 10, 10, 10, false, 1) },
		"short B":  func() { gemm(x, 10, x, 10, false, x, 11, true, 10, 10, 10, false, 1) },
		"narrow C": func() { gemm(x, 9, x, 10, false, x, 10, false, 10, 10, 10, false, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// TestGEMMGolden pins the bits of fixed products, so that every build and every machine must agree.
func TestGEMMGolden(t *testing.T) {
	operand := func(n int, seed uint32) []float32 {
		x := make([]float32, n)
		for i := range x {
			seed = seed*1664525 + 1013904223
			x[i] = float32(int32(seed)) * 0x1p-31
		}
		return x
	}
	const m, n, k = 77, 93, 411
	a, b := operand(m*k, 1), operand(k*n, 2)
	h := sha256.New()
	for variant := range 4 {
		transA, transB := variant&1 != 0, variant&2 != 0
		c := operand(m*n, 3)
		lda, ldb := k, n
		if transA {
			lda = m
		}
		if transB {
			ldb = k
		}
		gemm(c, n, a, lda, transA, b, ldb, transB, m, n, k, true, 2)
		for _, v := range c {
			h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
	}
	const want = "6e8bf85537bbe2b39bbd2af0026497bb1ae6f8ed9be5f9c90722ce2cf44afede"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestGEMMAllocatesNothing(t *testing.T) {
	x := make([]float32, 64*64)
	y := make([]float32, 64*64)
	run := func() { gemm(y, 64, x, 64, false, x, 64, true, 50, 60, 64, true, 1) }
	run()
	if n := testing.AllocsPerRun(100, run); n > 0.5 { // the pool may be emptied by a collection
		t.Errorf("%g allocations per call", n)
	}
}

func BenchmarkGEMM(b *testing.B) {
	for _, s := range []struct{ m, n, k int }{
		{512, 512, 512}, {1024, 1024, 1024}, {128, 128, 32}, {128, 32, 128}, {128, 128, 128}, {128, 512, 128}, {128, 128, 512},
		{1024, 64, 128}, {1024, 384, 128}, {4096, 512, 128}, {4096, 128, 512}, {128, 2048, 128}, {4096, 2048, 128}, {128, 512, 4096},
	} {
		for form, trans := range map[string][2]bool{"NN": {}, "NT": {false, true}, "TN": {true, false}} {
			rng := rand.New(rand.NewPCG(1, 2))
			x := fill(rng, s.m, s.k, 0, trans[0], false)
			y := fill(rng, s.k, s.n, 0, trans[1], false)
			c := fill(rng, s.m, s.n, 0, false, false)
			for name, kn := range map[string]*kernels{"native": &native, "portable": &portable} {
				for workers := 1; workers <= 2; workers++ {
					b.Run(fmt.Sprintf("%dx%dx%d/%s/%s/%d", s.m, s.n, s.k, form, name, workers), func(b *testing.B) {
						for b.Loop() {
							kn.gemm(c, x, y, s.m, s.n, s.k, false, workers)
						}
						flop := 2 * float64(s.m) * float64(s.n) * float64(s.k)
						b.ReportMetric(flop*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
					})
				}
			}
		}
	}
}
