// Package exact is arithmetic with the same bits on every machine: bf16 rounding, fused multiply-add, square root,
// exp, log, their float64 siblings for tables and schedules, and row reductions in one fixed order.
//
// It is plain Go and the definition that assembly and GPU kernels are held to. Only + − × ÷ √ occur, each rounded to
// nearest even, subnormals kept; every product is converted explicitly (float32(a*b) + c), which forbids the compiler
// to fuse it into the addition. Nothing here calls a transcendental of package math.
package exact

import "math"

// The range of a matrix operand after BF16. A product of two operands then lies in [2^-120, 2^126], has at most 16
// significant bits and needs no bit below 2^-134: it is exact in fp32, so fused and unfused multiply-add agree.
const (
	minOperand = 0x21800000 // bits of 2^-60; smaller magnitudes become +0
	maxOperand = 0x5f000000 // bits of 2^63; magnitudes from here on become non-finite
	exponent   = 0x7f800000
	magnitude  = 0x7fffffff
)

// nan is the one NaN this package makes; its bits are part of the definition.
var nan = math.Float32frombits(0x7fc00000)

// BF16 rounds a matrix operand to bfloat16, nearest even, and returns it as fp32. Magnitudes below 2^-60 become +0.
// Infinities and NaNs are kept as they are, and a finite magnitude of 2^63 or more becomes non-finite (its exponent
// bits are all set): callers refuse the unit when a result is not Finite.
func BF16(x float32) float32 {
	u := math.Float32bits(x)
	switch m := u & magnitude; {
	case m < minOperand:
		return 0
	case m >= maxOperand:
		return math.Float32frombits(u | exponent)
	}
	return math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
}

// FMA returns a*b + c rounded once, as the fmaf of IEEE 754. Every machine agrees on it, but without hardware help it
// is slow: inner loops avoid it by making products exact (see BF16).
func FMA(a, b, c float32) float32 {
	// The product of two 24-bit significands fits 53 bits. The sum is rounded to odd in float64: 53 ≥ 2·24 + 2, so
	// the final rounding to float32 sees every bit it needs.
	p := float64(float64(a) * float64(b))
	s := p + float64(c)
	back := s - p
	lost := (p - (s - back)) + (float64(c) - back)
	if u := math.Float64bits(s); lost != 0 && lost == lost && s-s == 0 && u&1 == 0 {
		if (lost > 0) == (s > 0) {
			u++
		} else {
			u--
		}
		s = math.Float64frombits(u)
	}
	return canonical(float32(s))
}

// Sqrt returns the correctly rounded square root of x: ±0 for ±0, NaN below zero.
func Sqrt(x float32) float32 {
	return canonical(float32(math.Sqrt(float64(x)))) // 53 ≥ 2·24 + 2: rounding twice is rounding once
}

// Finite reports whether x holds neither an infinity nor a NaN.
func Finite(x []float32) bool {
	var m0, m1, m2, m3 uint32
	for ; len(x) >= 4; x = x[4:] {
		m0 = max(m0, math.Float32bits(x[0])&magnitude)
		m1 = max(m1, math.Float32bits(x[1])&magnitude)
		m2 = max(m2, math.Float32bits(x[2])&magnitude)
		m3 = max(m3, math.Float32bits(x[3])&magnitude)
	}
	for _, v := range x {
		m0 = max(m0, math.Float32bits(v)&magnitude)
	}
	return max(m0, m1, m2, m3) < exponent
}

// canonical maps every NaN to the one of this package: machines differ in the NaNs they make.
func canonical(x float32) float32 {
	if x != x {
		return nan
	}
	return x
}
