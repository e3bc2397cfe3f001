package exact

import "math"

// The float64 functions serve tables and schedules, where a fp32 error would show. Their results are good to about
// one unit in the last place (2^-52 relative; sine and cosine: absolute), and every series is a plain Taylor series:
// its coefficients are quotients of small integers, which the compiler rounds the same way everywhere.

// Exp64 returns e^x: +Inf above 709.78, +0 below -708.39, where e^x would be subnormal.
func Exp64(x float64) float64 { return exp64(x, 0) }

// Log64 returns the natural logarithm of x: -Inf for ±0, NaN below zero.
func Log64(x float64) float64 {
	if hi, ok := log64Special(x); ok {
		return hi
	}
	hi, lo := log64(x)
	return hi + lo
}

// Pow64 returns x^y for x > 0 as e^(y·log x), with the product kept in two float64. Pow64(x, 0) is 1; it returns NaN
// for x < 0, and the limit for x = 0 and x = +Inf.
func Pow64(x, y float64) float64 {
	if y == 0 || x == 1 {
		return 1
	}
	if l, ok := log64Special(x); ok {
		return Exp64(y * l)
	}
	hi, lo := log64(x)
	p, q := product(y, hi)
	if p-p != 0 || math.Abs(p) > 800 {
		return Exp64(p)
	}
	return exp64(p, q+float64(y*lo))
}

// Constants of x = n·ln2 + r; the high part has 42 significant bits, so n·ln2High64 is exact.
const (
	log2e64      = 0x1.71547652b82fep+0
	ln2High64    = 0x1.62e42fefa38p-1
	ln2Low64     = 0x1.ef35793c7673p-45
	roundShift64 = 0x1.8p+52
)

// exp64 returns e^(x+low) for |low| far below |x|.
func exp64(x, low float64) float64 {
	switch {
	case x != x:
		return math.NaN()
	case x > 0x1.62e42fefa39efp+9:
		return math.Inf(1)
	case x < -0x1.6232bdd7abcd2p+9:
		return 0
	}
	t := float64(x*log2e64) + roundShift64
	n := t - roundShift64
	r := (x - float64(n*ln2High64)) - (float64(n*ln2Low64) - low)
	q := float64(1.0 / 6227020800) // 1/13!
	for _, c := range [...]float64{1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
		1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2} {
		q = float64(q*r) + c
	}
	s := 1 + (r + float64(float64(r*r)*q))
	return math.Float64frombits(math.Float64bits(s) + math.Float64bits(t)<<52)
}

// log64Special answers log x where the series does not apply.
func log64Special(x float64) (float64, bool) {
	switch {
	case x != x || x < 0:
		return math.NaN(), true
	case x == 0:
		return math.Inf(-1), true
	case x > math.MaxFloat64:
		return x, true
	}
	return 0, false
}

// log64 returns log x as an unevaluated sum hi + lo, for positive finite x; its error is below 2^-60 of log x, or of 1
// where log x is smaller.
func log64(x float64) (hi, lo float64) {
	var e float64
	if x < 0x1p-1022 {
		x, e = x*0x1p54, -54
	}
	const half = 0x3fe6a09e667f3bcd // bits of √½
	u := math.Float64bits(x) - half
	e += float64(int64(u) >> 52)
	f := math.Float64frombits(u&(1<<52-1)+half) - 1

	// s + t = f/(2+f): the quotient, and what its rounding and that of 2+f lost.
	d := 2 + f
	dLost := f - (d - 2)
	s := f / d
	p, q := product(s, d)
	t := ((f - p) - q - float64(s*dLost)) / d

	z := float64(s * s)
	r := float64(1.0 / 23)
	for _, c := range [...]float64{1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7,
		1.0 / 5, 1.0 / 3} {
		r = float64(r*z) + c
	}
	tail := 2*t + float64(2*s*float64(r*z)) // 2s·(z/3 + z²/5 + …)

	hi = float64(e * ln2High64)
	sum := hi + 2*s
	if e != 0 { // |hi| > |2s|
		lo = 2*s - (sum - hi)
	}
	lo += float64(e*ln2Low64) + tail
	hi = sum + lo
	return hi, lo - (hi - sum)
}

// Constants of x = n·π/2 + r: the first parts have 33 significant bits, so n times them is exact for |n| < 2^20.
const (
	twoOverPi = 0x1.45f306dc9c883p-1
	pi2High   = 0x1.921fb544p+0
	pi2Mid    = 0x1.0b4611a6p-34
	pi2Low    = 0x1.3198a2e037073p-69
)

// Cos64 returns cos x for |x| ≤ 10^6 radians; it panics beyond, where the reduction would lose bits.
func Cos64(x float64) float64 {
	r, low, n := quarter(x)
	return turned(r, low, n+1)
}

// Sin64 returns sin x for |x| ≤ 10^6 radians; it panics beyond, where the reduction would lose bits.
func Sin64(x float64) float64 {
	r, low, n := quarter(x)
	return turned(r, low, n)
}

// quarter returns r + low = x - n·π/2 with |r| ≤ π/4, and n modulo 4.
func quarter(x float64) (r, low float64, n uint64) {
	if !(math.Abs(x) <= 1e6) {
		panic("exact: angle beyond a million radians")
	}
	t := float64(x*twoOverPi) + roundShift64
	k := t - roundShift64
	a := x - float64(k*pi2High) // exact: x and k·π/2 are close
	b := float64(k * pi2Mid)
	r = a - b
	c := float64(k * pi2Low)
	low = ((a - r) - b) - c
	sum := r + low
	return sum, low - (sum - r), math.Float64bits(t) & 3
}

// turned returns sin(r + low + n·π/2).
func turned(r, low float64, n uint64) float64 {
	z := float64(r * r)
	var v float64
	if n&1 == 0 {
		p := float64(1.0 / 355687428096000) // 1/17!
		for _, c := range [...]float64{-1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880,
			-1.0 / 5040, 1.0 / 120, -1.0 / 6} {
			p = float64(p*z) + c
		}
		v = r + (low + float64(float64(r*z)*p))
	} else {
		p := float64(-1.0 / 6402373705728000) // 1/18!
		for _, c := range [...]float64{1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800,
			1.0 / 40320, -1.0 / 720, 1.0 / 24} {
			p = float64(p*z) + c
		}
		h := float64(0.5 * z)
		w := 1 - h
		v = w + (((1 - w) - h) + (float64(float64(z*z)*p) - float64(r*low)))
	}
	if n&2 != 0 {
		return -v
	}
	return v
}

// product returns a·b as an unevaluated sum p + q, exact unless it over- or underflows (Dekker).
func product(a, b float64) (p, q float64) {
	p = float64(a * b)
	ah, al := split(a)
	bh, bl := split(b)
	return p, ((float64(ah*bh) - p) + float64(ah*bl) + float64(al*bh)) + float64(al*bl)
}

// split returns a as a sum of two halves of at most 26 significant bits.
func split(a float64) (hi, lo float64) {
	c := float64(a * (1<<27 + 1))
	hi = c - (c - a)
	return hi, a - hi
}
