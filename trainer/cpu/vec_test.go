package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/trainer/exact"
)

// anyFloats returns n numbers: any bit pattern, and arguments that matter to exp, in turn.
func anyFloats(rng *rand.Rand, n int) []float32 {
	corners := []uint32{0, 1 << 31, 1, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0xc2aeac4f, 0xc2aeac50, 0x42b17217,
		0x42b17218, 0x42200000, 0x42200001, 0xc1900000, 0xc1900001, 0xb58637bd, 0xb58637bc, 0x007fffff, 0x7f7fffff}
	x := make([]float32, n)
	for i := range x {
		switch rng.IntN(4) {
		case 0:
			x[i] = math.Float32frombits(rng.Uint32())
		case 1:
			x[i] = math.Float32frombits(corners[rng.IntN(len(corners))])
		case 2:
			x[i] = float32(rng.NormFloat64())
		default:
			x[i] = float32(rng.Float64()*200 - 100)
		}
	}
	return x
}

// expDefinition writes dst[i] = exact.Exp(x[i]).
func expDefinition(dst, x []float32) {
	for i, v := range x {
		dst[i] = exact.Exp(v)
	}
}

// TestVectorsAreExact holds every vector operation against its definition, for all tails and at odd addresses.
func TestVectorsAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 6000 {
		n := rng.IntN(150)
		x, dy := anyFloats(rng, n), anyFloats(rng, n)
		if round%2 == 0 { // finite sums
			for i := range x {
				x[i], dy[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())*float32(math.Ldexp(1, rng.IntN(40)-20))
			}
		}
		scale, shift, p, s := float32(rng.NormFloat64()), float32(rng.NormFloat64()), rng.Float32(), 0.5+rng.Float32()
		got, want := make([][]float32, 4), make([][]float32, 4)
		for i := range got {
			got[i], want[i] = make([]float32, n), make([]float32, n)
		}
		same := func(name string, outputs int) {
			for o := range outputs {
				if i := firstDifference(got[o], want[o]); i >= 0 {
					t.Fatalf("%s of %d: x[%d] = %g (%08x) gives %g (%08x), want %g (%08x)", name, n, i, x[i], math.Float32bits(x[i]),
						got[o][i], math.Float32bits(got[o][i]), want[o][i], math.Float32bits(want[o][i]))
				}
			}
		}
		expScaled(got[0], x, scale, shift)
		expScaledGo(want[0], x, scale, shift)
		same("exp(scale·x - shift)", 1)
		copy(got[0], x)
		expScaled(got[0], got[0], 1, 0)
		expDefinition(want[0], x)
		same("exp in place", 1)
		xieluRow(got[0], x, p, s)
		xieluGo(want[0], x, p, s)
		same("xielu", 1)
		copy(got[0], dy)
		xieluBackwardRow(got[0], got[1], got[2], got[0], x, p, s)
		xieluBackwardGo(want[0], want[1], want[2], dy, x, p, s)
		same("xielu backward", 3)

		for name, pair := range map[string][2]float32{
			"sum":     {sum(x), exact.Sum(x)},
			"dot":     {dot(x, dy), exact.Dot(x, dy)},
			"squares": {dot(dy, dy), exact.SumSquares(dy)},
			"max":     {maximum(x), exact.Max(x)},
		} {
			if math.Float32bits(pair[0]) != math.Float32bits(pair[1]) {
				t.Fatalf("%s of %d: %g, want %g", name, n, pair[0], pair[1])
			}
		}
	}
}

// TestExpEverywhere compares exp and xIELU over a fine stride of all bit patterns.
func TestExpEverywhere(t *testing.T) {
	const block, stride = 1024, 1009
	x, got, want := make([]float32, 0, block), make([]float32, block), make([]float32, block)
	for u := uint64(0); u < 1<<32; u += stride {
		if x = append(x, math.Float32frombits(uint32(u))); len(x) < block {
			continue
		}
		expScaled(got, x, 1, 0)
		expDefinition(want, x)
		if i := firstDifference(got, want); i >= 0 {
			t.Fatalf("exp(%g) = %g, want %g", x[i], got[i], want[i])
		}
		xieluRow(got, x, 0.7, 1.3)
		xieluGo(want, x, 0.7, 1.3)
		if i := firstDifference(got, want); i >= 0 {
			t.Fatalf("xielu(%g) = %g, want %g", x[i], got[i], want[i])
		}
		x = x[:0]
	}
}

func BenchmarkVectors(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	x := make([]float32, 1024)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	y, p, n := slices.Clone(x), slices.Clone(x), slices.Clone(x)
	var sink float32
	for name, f := range map[string]func(){
		"exp/native":              func() { expScaled(y, x, 1, 0) },
		"exp/portable":            func() { expScaledGo(y, x, 1, 0) },
		"sum/native":              func() { sink += sum(x) },
		"sum/portable":            func() { sink += exact.Sum(x) },
		"dot/native":              func() { sink += dot(x, y) },
		"dot/portable":            func() { sink += exact.Dot(x, y) },
		"max/native":              func() { sink += maximum(x) },
		"max/portable":            func() { sink += exact.Max(x) },
		"xielu/native":            func() { xieluRow(y, x, 0.8, 1.3) },
		"xielu/portable":          func() { xieluGo(y, x, 0.8, 1.3) },
		"xielu backward/native":   func() { xieluBackwardRow(y, p, n, x, x, 0.8, 1.3) },
		"xielu backward/portable": func() { xieluBackwardGo(y, p, n, x, x, 0.8, 1.3) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/value")
		})
	}
}
