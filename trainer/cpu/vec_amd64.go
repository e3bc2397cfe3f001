package cpu

import (
	"math"

	"github.com/allmend-network/allmend/trainer/exact"
)

// The assembly works on whole blocks of eight elements; portable code does the rest. Reductions take their tail
// masked, as zeros (or -Inf): a lane that starts at +0 never becomes -0, so adding +0 to it changes no bit.

// whole returns how many of n elements the assembly takes.
func whole(n int) int {
	if !hasAVX2 {
		return 0
	}
	return n &^ 7
}

// expScaled writes dst[i] = exp(scale·x[i] - shift). dst may be x.
func expScaled(dst, x []float32, scale, shift float32) {
	dst = dst[:len(x)]
	n := whole(len(x))
	if n > 0 {
		expScaledAVX2(&dst[0], &x[0], n/8, scale, shift)
	}
	expScaledGo(dst[n:], x[n:], scale, shift)
}

// expm1Slice writes dst[i] = expm1(x[i]). dst may be x.
func expm1Slice(dst, x []float32) {
	dst = dst[:len(x)]
	n := whole(len(x))
	if n > 0 {
		expm1AVX2(&dst[0], &x[0], n/8)
	}
	exact.Expm1Slice(dst[n:], x[n:])
}

// sum is exact.Sum.
func sum(x []float32) float32 {
	if !hasAVX2 || len(x) == 0 {
		return exact.Sum(x)
	}
	return canonical(sumAVX2(&x[0], len(x)/32, tailMask(len(x))))
}

// dot is exact.Dot.
func dot(x, y []float32) float32 {
	y = y[:len(x)]
	if !hasAVX2 || len(x) == 0 {
		return exact.Dot(x, y)
	}
	return canonical(dotAVX2(&x[0], &y[0], len(x)/32, tailMask(len(x))))
}

// maximum is exact.Max.
func maximum(x []float32) float32 {
	if !hasAVX2 || len(x) == 0 {
		return exact.Max(x)
	}
	return maxAVX2(&x[0], len(x)/32, tailMask(len(x)))
}

// xieluRow writes the activation of x, of effective slopes p and n. y may be x.
func xieluRow(y, x []float32, p, n float32) {
	y = y[:len(x)]
	k := whole(len(x))
	if k > 0 {
		xieluAVX2(&y[0], &x[0], k/8, p, n)
	}
	xieluGo(y[k:], x[k:], p, n)
}

// xieluBackwardRow writes dx, and the terms of the gradients of p and n. dx may be dy.
func xieluBackwardRow(dx, termP, termN, dy, x []float32, p, n float32) {
	dx, termP, termN, dy = dx[:len(x)], termP[:len(x)], termN[:len(x)], dy[:len(x)]
	k := whole(len(x))
	if k > 0 {
		xieluBackwardAVX2(&dx[0], &termP[0], &termN[0], &dy[0], &x[0], k/8, p, n)
	}
	xieluBackwardGo(dx[k:], termP[k:], termN[k:], dy[k:], x[k:], p, n)
}

// tailMasks[32-n:] is a mask of the first n of 32 lanes.
var tailMasks = func() (m [64]int32) {
	for i := range 32 {
		m[i] = -1
	}
	return m
}()

func tailMask(n int) *int32 { return &tailMasks[32-n%32] }

// canonical maps every NaN to that of package exact.
func canonical(x float32) float32 {
	if x != x {
		return math.Float32frombits(0x7fc00000)
	}
	return x
}

//go:noescape
func expScaledAVX2(dst, x *float32, blocks int, scale, shift float32)

//go:noescape
func expm1AVX2(dst, x *float32, blocks int)

//go:noescape
func sumAVX2(x *float32, blocks int, tail *int32) float32

//go:noescape
func dotAVX2(x, y *float32, blocks int, tail *int32) float32

//go:noescape
func maxAVX2(x *float32, blocks int, tail *int32) float32

//go:noescape
func xieluAVX2(y, x *float32, blocks int, p, n float32)

//go:noescape
func xieluBackwardAVX2(dx, termP, termN, dy, x *float32, blocks int, p, n float32)
