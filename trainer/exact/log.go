package exact

import "math"

// Log returns the natural logarithm of x within 1.5 units in the last place: -Inf for ±0, NaN below zero.
// Subnormal arguments are exact ones.
func Log(x float32) float32 {
	switch {
	case x != x || x < 0:
		return nan
	case x == 0:
		return float32(math.Inf(-1))
	case x > math.MaxFloat32:
		return x
	}
	var e float32
	if x < 0x1p-126 {
		x, e = x*0x1p24, -24
	}
	// x = 2^e·(1+f) with 1+f in [√½, √2): the offset carries into the exponent field from √2 on.
	const half = 0x3f3504f3 // bits of √½
	u := math.Float32bits(x) - half
	e += float32(int32(u) >> 23)
	f := math.Float32frombits(u&0x007fffff+half) - 1

	// log(1+f) = 2·atanh(s) with s = f/(2+f), regrouped around f so that only small terms are rounded:
	// f - (f²/2 - s·(f²/2 + R)), R = 2·(s²/3 + s⁴/5 + …).
	s := f / (2 + f)
	z := float32(s * s)
	r := float32(2.0 / 11)
	r = float32(r*z) + 2.0/9
	r = float32(r*z) + 2.0/7
	r = float32(r*z) + 2.0/5
	r = float32(r*z) + 2.0/3
	r = float32(r * z)
	h := float32(0.5 * float32(f*f))
	low := float32(s*(h+r)) + float32(e*ln2Low)
	return float32(e*ln2High) + (f - (h - low))
}

// Softplus returns log(1 + e^x) within 3 units in the last place; +0 below -87.33654.
func Softplus(x float32) float32 {
	if x != x {
		return nan
	}
	if x > 0 {
		return x + log1p(Exp(-x))
	}
	return log1p(Exp(x))
}

// log1p returns log(1+y) for y in [0, 1], as 2s·(1 + s²/3 + s⁴/5 + …) with s = y/(2+y) ≤ 1/3.
func log1p(y float32) float32 {
	s := y / (2 + y)
	z := float32(s * s)
	r := float32(1.0 / 15)
	r = float32(r*z) + 1.0/13
	r = float32(r*z) + 1.0/11
	r = float32(r*z) + 1.0/9
	r = float32(r*z) + 1.0/7
	r = float32(r*z) + 1.0/5
	r = float32(r*z) + 1.0/3
	d := 2 * s
	return d + float32(d*float32(r*z))
}
