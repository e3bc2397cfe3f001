package exact

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// inputs returns fp32 values from all over the number line: the corner cases, then a fixed stride over all bit
// patterns, so that subnormals, ties and the greatest exponents are in.
func inputs() []float32 {
	bits := []uint32{0, 1, 0x007fffff, 0x00800000, 0x217fffff, 0x21800000, 0x21807fff, 0x3f800000, 0x3f808000, 0x3f818000,
		0x3f808001, 0x3f807fff, 0x42aeac4f, 0x42b17217, 0x42b17218, 0x5effffff, 0x5f000000, 0x7f7fffff, 0x7f7f7fff,
		0x7f7f8000, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff}
	var x []float32
	for _, u := range bits {
		x = append(x, math.Float32frombits(u), math.Float32frombits(u|1<<31))
	}
	const stride = 104729 // prime: about 41,000 values
	for u := uint64(0); u < 1<<32; u += stride {
		x = append(x, math.Float32frombits(uint32(u)))
	}
	return x
}

// random returns n values of exponent -span…span, by a fixed linear congruence.
func random(n, span int, seed uint64) []float32 {
	x := make([]float32, n)
	for i := range x {
		seed = seed*6364136223846793005 + 1442695040888963407
		e := uint32(127-span) + uint32(seed>>33)%uint32(2*span+1)
		x[i] = math.Float32frombits(uint32(seed>>63)<<31 | e<<23 | uint32(seed>>10)&0x7fffff)
	}
	return x
}

func digest32(x []float32) string {
	h := sha256.New()
	for _, v := range x {
		h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(canonical(v))))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func digest64(x []float64) string {
	h := sha256.New()
	for _, v := range x {
		if v != v {
			v = math.Float64frombits(0x7ff8000000000000)
		}
		h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestGolden32 pins the bits of every fp32 function; assembly and GPU kernels assert the same digests.
func TestGolden32(t *testing.T) {
	unary := map[string]struct {
		f    func(float32) float32
		want string
	}{
		"BF16":     {BF16, "fddf014913aced3440216cdb0d0d8d954553e0c42c1330f4e68dc37964eae496"},
		"Sqrt":     {Sqrt, "4134eecd45a60237e3b66dba117dbf0930123c8cdbbd4b055b8672c12570da0e"},
		"Exp":      {Exp, "ef0ae5c35f9fd1d3ea9d5a429e4d955853a45b2da05d8272e33a1905dce00b5a"},
		"Expm1":    {Expm1, "389a3ca403217de93081840e6534c59f5e131dc56f04a9ace9e8fbef410e6337"},
		"Log":      {Log, "bb5ecbe042c5e5ee8b7df28b1fbfe814614d1dadcacc46465ce20ccdf3ed0fd2"},
		"Sigmoid":  {Sigmoid, "7361de29eaf3ff2ac623b2f1d04c540f316943c8cf0b3468567725b464add29e"},
		"Softplus": {Softplus, "c69f225c786696fcd943fcab7f0d176aea6b0b7d77ee6298cbc3ae782c2c4eaf"},
	}
	for name, c := range unary {
		y := inputs()
		for i, x := range y {
			y[i] = c.f(x)
		}
		if got := digest32(y); got != c.want {
			t.Errorf("%s: digest %s, want %s", name, got, c.want)
		}
	}

	var y []float32
	a, b := inputs(), random(50000, 126, 1)
	for i := range a {
		y = append(y, FMA(a[i], b[i], b[i+1]), FMA(b[i], b[i+2], a[i]))
	}
	const wantFMA = "8abd4038a5c5b74ea421bfff0b35d7877ea3283601b757fe32842cf24e7f91f7"
	if got := digest32(y); got != wantFMA {
		t.Errorf("FMA: digest %s, want %s", got, wantFMA)
	}

	y = y[:0]
	x, z := random(700, 30, 2), random(700, 30, 3)
	for n := range 700 {
		y = append(y, Sum(x[:n]), SumSquares(x[:n]), Dot(x[:n], z), Max(x[:n]))
	}
	const wantReduce = "1413427fb64189f2824d42d3f0dfa3610ccadd85005803f8d9d02e12ae8b87e1"
	if got := digest32(y); got != wantReduce {
		t.Errorf("reductions: digest %s, want %s", got, wantReduce)
	}
}

func TestGolden64(t *testing.T) {
	var y []float64
	for i, x := range random(20000, 60, 4) {
		v := float64(x) * (1 + float64(i)*0x1p-40)
		y = append(y, Exp64(v), Log64(v), Log64(math.Abs(v)), Pow64(math.Abs(v), float64(i%23)/7-1))
		y = append(y, Cos64(math.Mod(v, 1e6)), Sin64(math.Mod(v, 1e6)))
	}
	inf := math.Inf(1)
	for _, v := range []float64{0, math.Copysign(0, -1), 5e-324, 0x1p-1022, 709.782712893384, 709.79, -708.39, -708.4, inf, -inf, math.NaN()} {
		y = append(y, Exp64(v), Log64(v), Pow64(v, 2), Pow64(v, -0.5), Pow64(v, 0))
	}
	const want = "eddce7057876e1a7c47dfc13221bd69a6b6792867a2279726336d3e989ee6660"
	if got := digest64(y); got != want {
		t.Errorf("float64 functions: digest %s, want %s", got, want)
	}
}

func TestBF16(t *testing.T) {
	for _, x := range inputs() {
		got, v := BF16(x), float64(x)
		switch m := math.Abs(v); {
		case m < 0x1p-60:
			if math.Float32bits(got) != 0 {
				t.Fatalf("BF16(%g) = %g, want +0", x, got)
			}
		case m >= 0x1p63 || v != v:
			if Finite([]float32{got}) {
				t.Fatalf("BF16(%g) = %g is finite", x, got)
			}
			if !Finite([]float32{x}) && math.Float32bits(got) != math.Float32bits(x) {
				t.Fatalf("BF16 changes %08x", math.Float32bits(x))
			}
		default:
			_, e := math.Frexp(v)
			if want := math.Ldexp(math.RoundToEven(math.Ldexp(v, 8-e)), e-8); float64(got) != want {
				t.Fatalf("BF16(%g) = %g, want %g", x, got, want)
			}
		}
	}
}

// TestBF16Products states why bf16 operands are used at all: unfused is fused.
func TestBF16Products(t *testing.T) {
	a, b, c := random(100000, 62, 5), random(100000, 62, 6), random(100000, 126, 7)
	for i := range a {
		x, y := BF16(a[i]), BF16(b[i])
		if got, want := float32(x*y)+c[i], FMA(x, y, c[i]); got != want {
			t.Fatalf("%g·%g + %g: %g unfused, %g fused", x, y, c[i], got, want)
		}
	}
}

func TestFMA(t *testing.T) {
	vectors := [][4]float32{
		{4097, 4097, 0x1p-30, 16785410},
		{0.9474001, 4.639901e-7, -0.24325085, -0x1.f22d46p-3},
		{-1.9369631e13, 2.1513551e-7, -1.7354427e-24, -4.16709575e6},
		{0, -1, 0, 0},
		{math.MaxFloat32, 2, -math.MaxFloat32, math.MaxFloat32},
	}
	for _, v := range vectors {
		if got := FMA(v[0], v[1], v[2]); got != v[3] {
			t.Errorf("FMA(%g, %g, %g) = %g, want %g", v[0], v[1], v[2], got, v[3])
		}
	}
	if inf := float32(math.Inf(1)); FMA(inf, 1, -1) != inf || FMA(1, 1, -inf) != -inf || FMA(inf, 0, 1) == FMA(inf, 0, 1) {
		t.Error("FMA of infinities")
	}
}

func TestReductionOrder(t *testing.T) {
	x, y := random(300, 20, 8), random(300, 20, 9)
	for n := range x {
		var acc [32]float32
		for i := range n {
			p := float64(x[i]) * float64(y[i]) // exact, so float32(p) is the fp32 product
			acc[i%32] += float32(p)
		}
		for step := 16; step > 0; step /= 2 {
			old := acc
			for l := range acc {
				acc[l] = old[l] + old[l^step]
			}
		}
		for l := range acc {
			if acc[l] != Dot(x[:n], y) {
				t.Fatalf("n %d: Dot %g, butterfly lane %d holds %g", n, Dot(x[:n], y), l, acc[l])
			}
		}
	}
}

func TestFinite(t *testing.T) {
	for n := range 12 {
		for i := range n {
			x := make([]float32, n)
			x[i] = math.MaxFloat32
			if !Finite(x) {
				t.Fatal("MaxFloat32 is finite")
			}
			for _, bad := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
				if x[i] = float32(bad); Finite(x) {
					t.Fatalf("%g at %d of %d overlooked", bad, i, n)
				}
			}
		}
	}
}

// TestSubnormals is the canary of rule R15: it fails where a library has set flush-to-zero.
func TestSubnormals(t *testing.T) {
	a, b := math.Float32frombits(1<<9), math.Float32frombits(1<<8)
	if Sum([]float32{a, b}) != math.Float32frombits(3<<8) {
		t.Error("subnormals are flushed")
	}
}

var sink float32

func BenchmarkExp(b *testing.B) {
	x := random(1024, 4, 1)
	for b.Loop() {
		for _, v := range x {
			sink += Exp(v)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/value")
}

func BenchmarkSum(b *testing.B) {
	x := random(1024, 4, 1)
	for b.Loop() {
		sink += Sum(x)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/value")
}
