package exact

import "math"

// Constants of the reduction x = n·ln2 + r, |r| ≤ ln2/2, and of the polynomial q with e^r = 1 + r + r²·q(r).
// ln2High has 12 significant bits, so n·ln2High is exact. q interpolates at the five Chebyshev nodes of the interval;
// its error is below 2^-26 of e^r.
const (
	log2e   = 0x1.715476p+0
	ln2High = 0x1.62ep-1
	ln2Low  = 0x1.0bfbe8p-15

	// roundShift = 1.5·2^23: adding it rounds to an integer, which then stands in the low bits of the sum.
	roundShift = 0x1.8p+23

	q0 = 0.5
	q1 = 0x1.5554dcp-3
	q2 = 0x1.55551ap-5
	q3 = 0x1.120b88p-7
	q4 = 0x1.6d1122p-10

	expMax = 0x1.62e42ep+6  // the largest x with a finite e^x
	expMin = -0x1.5d589ep+6 // the smallest x with a normal e^x
)

// Exp returns e^x within 1.5 units in the last place. It is +Inf above 88.722832, and +0 below -87.33654, where e^x
// would be subnormal.
func Exp(x float32) float32 {
	switch {
	case x != x:
		return nan
	case x > expMax:
		return float32(math.Inf(1))
	case x < expMin:
		return 0
	}
	s, shifted := expm1Reduced(x)
	// 1+s lies in [0.7, 1.5) and the result is normal, so adding n to the exponent field multiplies by 2^n exactly.
	return math.Float32frombits(math.Float32bits(1+s) + shifted<<23)
}

// Expm1 returns e^x - 1 within 2 units in the last place, also where x is near zero. Expm1(±0) is +0.
func Expm1(x float32) float32 {
	switch {
	case x != x:
		return nan
	case x > 40:
		return Exp(x) // the 1 is below half a unit
	case x < -18:
		return -1
	}
	s, shifted := expm1Reduced(x)
	scale := math.Float32frombits(0x3f800000 + shifted<<23) // 2^n
	return float32(scale*s) + (scale - 1)
}

// expm1Reduced returns e^r - 1 for x = n·ln2 + r, and the bits of n + roundShift, whose low 9 bits are those of n.
func expm1Reduced(x float32) (s float32, shifted uint32) {
	t := float32(x*log2e) + roundShift
	n := t - roundShift
	r := (x - float32(n*ln2High)) - float32(n*ln2Low)
	q := float32(q4)
	q = float32(q*r) + q3
	q = float32(q*r) + q2
	q = float32(q*r) + q1
	q = float32(q*r) + q0
	return r + float32(float32(r*r)*q), math.Float32bits(t)
}

// Sigmoid returns 1/(1 + e^-x) within 3 units in the last place; +0 below -87.33654.
func Sigmoid(x float32) float32 {
	if x < 0 {
		e := Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + Exp(-x))
}
