package cpu

import (
	"math"

	"github.com/allmend-network/allmend/trainer/exact"
)

// The assembly works on whole blocks of eight elements; portable code does the rest. Reductions take
// a tail filled up with zeros (or -Inf): a lane that starts at +0 never becomes -0, so adding +0 to it changes no bit.
// Masked loads would do the same, but cost a microsecond where the masked lanes lie on a page not yet touched.

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

// sum is exact.Sum.
func sum(x []float32) float32 {
	n := len(x) &^ 31
	if !hasAVX2 || n == 0 {
		return exact.Sum(x)
	}
	if n == len(x) {
		return canonical(sumAVX2(&x[0], n/32, nil))
	}
	var tail [32]float32
	copy(tail[:], x[n:])
	return canonical(sumAVX2(&x[0], n/32, &tail[0]))
}

// dot is exact.Dot.
func dot(x, y []float32) float32 {
	y = y[:len(x)]
	n := len(x) &^ 31
	if !hasAVX2 || n == 0 {
		return exact.Dot(x, y)
	}
	if n == len(x) {
		return canonical(dotAVX2(&x[0], &y[0], n/32, nil))
	}
	var tail [64]float32 // of x, then of y
	copy(tail[:32], x[n:])
	copy(tail[32:], y[n:])
	return canonical(dotAVX2(&x[0], &y[0], n/32, &tail[0]))
}

// maximum is exact.Max.
func maximum(x []float32) float32 {
	n := len(x) &^ 31
	if !hasAVX2 || n == 0 {
		return exact.Max(x)
	}
	if n == len(x) {
		return maxAVX2(&x[0], n/32, nil)
	}
	tail := lowest
	copy(tail[:], x[n:])
	return maxAVX2(&x[0], n/32, &tail[0])
}

// lowest is a block that changes no maximum.
var lowest = func() (x [32]float32) {
	for i := range x {
		x[i] = float32(math.Inf(-1))
	}
	return x
}()

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
func sumAVX2(x *float32, blocks int, tail *float32) float32

//go:noescape
func dotAVX2(x, y *float32, blocks int, tail *float32) float32

//go:noescape
func maxAVX2(x *float32, blocks int, tail *float32) float32

//go:noescape
func xieluAVX2(y, x *float32, blocks int, p, n float32)

//go:noescape
func xieluBackwardAVX2(dx, termP, termN, dy, x *float32, blocks int, p, n float32)
