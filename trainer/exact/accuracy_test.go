package exact

import (
	"math"
	"math/big"
	"testing"
)

// ulps returns |got - want| in units in the last place of the fp32 number nearest want.
func ulps(got float32, want float64) float64 {
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

func TestAccuracy32(t *testing.T) {
	// Package math is good to 1e-15 here, which does not show at 2^-24.
	softplus := func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	for _, c := range []struct {
		name     string
		f        func(float32) float32
		ref      func(float64) float64
		low, top float64
		limit    float64
	}{
		{"Exp", Exp, math.Exp, -87.336, 88.7228, 1.5},
		{"Expm1", Expm1, math.Expm1, -1000, 88.7228, 2},
		{"Log", Log, math.Log, 0x1p-149, math.MaxFloat32, 1.5},
		{"Sqrt", Sqrt, math.Sqrt, 0, math.MaxFloat32, 0.5},
		{"Sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, -87, 1000, 3},
		{"Softplus", Softplus, softplus, -87, 1e30, 3},
	} {
		worst, at := 0.0, float32(0)
		check := func(x float32) {
			if v := float64(x); v >= c.low && v <= c.top {
				if u := ulps(c.f(x), c.ref(v)); !(u <= worst) {
					worst, at = u, x
				}
			}
		}
		const stride = 4099
		for u := uint64(0); u < 1<<32; u += stride {
			check(math.Float32frombits(uint32(u)))
		}
		for i := range 200000 {
			check(float32(i-100000) * 0.000883)
		}
		t.Logf("%s: %.3f units at %g", c.name, worst, at)
		if !(worst <= c.limit) {
			t.Errorf("%s(%g) is off by %.3f units in the last place, limit %g", c.name, at, worst, c.limit)
		}
	}
}

func TestCorners(t *testing.T) {
	inf, neg := float32(math.Inf(1)), float32(math.Inf(-1))
	for _, c := range []struct {
		name      string
		got, want float32
	}{
		{"Exp(-87.34)", Exp(-87.34), 0}, {"Exp(expMin)", Exp(expMin), float32(math.Exp(expMin))}, {"Exp(-Inf)", Exp(neg), 0},
		{"Exp(88.73)", Exp(88.73), inf}, {"Exp(Inf)", Exp(inf), inf}, {"Exp(0)", Exp(0), 1},
		{"Expm1(-Inf)", Expm1(neg), -1}, {"Expm1(Inf)", Expm1(inf), inf}, {"Expm1(1e-30)", Expm1(1e-30), 1e-30},
		{"Expm1(-1e-6)", Expm1(-1e-6), float32(math.Expm1(float64(float32(-1e-6))))},
		{"Log(0)", Log(0), neg}, {"Log(Inf)", Log(inf), inf}, {"Log(1)", Log(1), 0},
		{"Sigmoid(-Inf)", Sigmoid(neg), 0}, {"Sigmoid(Inf)", Sigmoid(inf), 1}, {"Sigmoid(0)", Sigmoid(0), 0.5},
		{"Softplus(-Inf)", Softplus(neg), 0}, {"Softplus(Inf)", Softplus(inf), inf},
		{"Sum()", Sum(nil), 0}, {"Max()", Max(nil), neg},
	} {
		if c.got != c.want {
			t.Errorf("%s = %g, want %g", c.name, c.got, c.want)
		}
	}
	for _, f := range []func(float32) float32{Exp, Expm1, Log, Sqrt, Sigmoid, Softplus} {
		if math.Float32bits(f(math.Float32frombits(0xffabcdef))) != 0x7fc00000 {
			t.Error("a NaN result is not the canonical NaN")
		}
	}
}

// The float64 functions are held against series in 300-bit arithmetic.

const prec = 300

func bigFloat(x float64) *big.Float { return new(big.Float).SetPrec(prec).SetFloat64(x) }

// taylor returns the sum of x^(first + step·k)/(first + step·k)! with alternating or equal signs.
func taylor(x *big.Float, first, step int, alternating bool) *big.Float {
	sum, term := bigFloat(0), bigFloat(1)
	for k := range 400 {
		if k >= first && (k-first)%step == 0 {
			if alternating && (k-first)/step%2 == 1 {
				sum.Sub(sum, term)
			} else {
				sum.Add(sum, term)
			}
		}
		term.Mul(term, x).Quo(term, bigFloat(float64(k+1)))
	}
	return sum
}

func bigExp(x *big.Float) *big.Float {
	y := taylor(new(big.Float).SetMantExp(x, -12), 0, 1, false)
	for range 12 {
		y.Mul(y, y)
	}
	return y
}

// bigLog refines a float64 guess by y += 2(x - e^y)/(x + e^y), which triples the digits.
func bigLog(x *big.Float) *big.Float {
	f, _ := x.Float64()
	y := bigFloat(math.Log(f))
	for range 3 {
		e := bigExp(y)
		d := new(big.Float).Sub(x, e)
		d.Quo(d.Mul(d, bigFloat(2)), e.Add(e, x))
		y.Add(y, d)
	}
	return y
}

// bigPi is Machin's 16·atan(1/5) - 4·atan(1/239).
func bigPi() *big.Float {
	atan := func(inverse float64) *big.Float {
		sum, power := bigFloat(0), new(big.Float).Quo(bigFloat(1), bigFloat(inverse))
		for k := range 150 {
			term := new(big.Float).Quo(power, bigFloat(float64(2*k+1)))
			if k%2 == 1 {
				term.Neg(term)
			}
			sum.Add(sum, term)
			power.Quo(power, bigFloat(inverse*inverse))
		}
		return sum
	}
	a, b := atan(5), atan(239)
	return a.Sub(a.Mul(a, bigFloat(16)), b.Mul(b, bigFloat(4)))
}

func TestAccuracy64(t *testing.T) {
	worst := map[string]float64{}
	check := func(name string, got float64, want *big.Float, scale float64) {
		d, _ := new(big.Float).Sub(bigFloat(got), want).Float64()
		if u := math.Abs(d) / scale; !(u <= worst[name]) {
			worst[name] = u
		}
	}
	relative := func(name string, got float64, want *big.Float) {
		w, _ := want.Float64()
		check(name, got, want, math.Abs(w))
	}
	turn := bigPi()
	turn.Mul(turn, bigFloat(2))
	seed := uint64(11)
	uniform := func(low, high float64) float64 {
		seed = seed*6364136223846793005 + 1442695040888963407
		return low + (high-low)*float64(seed>>11)*0x1p-53
	}
	for range 150 {
		x := uniform(-700, 700)
		relative("Exp64", Exp64(x), bigExp(bigFloat(x)))
		x = Exp64(uniform(-60, 60))
		relative("Log64", Log64(x), bigLog(bigFloat(x)))
		x = uniform(0.5, 1.5)
		relative("Log64 near 1", Log64(x), bigLog(bigFloat(x)))
		x, y := uniform(0.9, 1), uniform(0, 5000)
		p := bigLog(bigFloat(x))
		relative("Pow64", Pow64(x, y), bigExp(p.Mul(p, bigFloat(y))))
		x, y = uniform(1e4, 1.2e7), uniform(-1, 0) // rotary frequencies
		p = bigLog(bigFloat(x))
		relative("Pow64 of RoPE", Pow64(x, y), bigExp(p.Mul(p, bigFloat(y))))

		x = uniform(-1e6, 1e6)
		turns, _ := new(big.Float).Quo(bigFloat(x), turn).Float64()
		r := new(big.Float).Sub(bigFloat(x), new(big.Float).Mul(turn, bigFloat(math.Round(turns))))
		check("Sin64", Sin64(x), taylor(r, 1, 2, true), 1)
		check("Cos64", Cos64(x), taylor(r, 0, 2, true), 1)
	}
	for name, w := range worst {
		t.Logf("%s: %.3g", name, w)
		if w > 2.5e-16 {
			t.Errorf("%s is off by %.3g, limit 2.5e-16", name, w)
		}
	}
}
