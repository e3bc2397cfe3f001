package exact

import "math"

// Reductions add 32 partial results: lane l takes elements l, l+32, l+64, … in ascending order, starting from +0.
// Lanes l and l xor 16 are then combined, then xor 8, 4, 2, 1, which leaves the result in lane 0. Elements beyond the
// end contribute nothing (no zero is added for them). The order suits one GPU warp and any SIMD width dividing 32.
type lanes [32]float32

// Sum returns the sum of x; +0 when x is empty.
func Sum(x []float32) float32 {
	var acc lanes
	for ; len(x) >= len(acc); x = x[len(acc):] {
		for l, v := range x[:len(acc)] {
			acc[l] += v
		}
	}
	for l, v := range x {
		acc[l] += v
	}
	return acc.sum()
}

// SumSquares returns the sum of float32(x[i]*x[i]).
func SumSquares(x []float32) float32 { return Dot(x, x) }

// Dot returns the sum of float32(x[i]*y[i]). It panics when y is shorter than x.
func Dot(x, y []float32) float32 {
	y = y[:len(x)]
	var acc lanes
	for ; len(x) >= len(acc); x, y = x[len(acc):], y[len(acc):] {
		for l, v := range x[:len(acc)] {
			acc[l] += float32(v * y[l])
		}
	}
	for l, v := range x {
		acc[l] += float32(v * y[l])
	}
	return acc.sum()
}

// Max returns the greatest element of x by a > b ? a : b over the same lanes, starting from -Inf. NaN elements are
// passed over; -Inf when x is empty.
func Max(x []float32) float32 {
	var acc lanes
	for l := range acc {
		acc[l] = float32(math.Inf(-1))
	}
	for ; len(x) > 0; x = x[min(len(x), len(acc)):] {
		for l, v := range x[:min(len(x), len(acc))] {
			if v > acc[l] {
				acc[l] = v
			}
		}
	}
	for step := len(acc) / 2; step > 0; step /= 2 {
		for l := range step {
			if !(acc[l] > acc[l+step]) {
				acc[l] = acc[l+step]
			}
		}
	}
	return acc[0]
}

// sum is the xor butterfly. Addition commutes, so both lanes of a pair would hold the same bits; only the lower is kept.
func (acc *lanes) sum() float32 {
	for step := len(acc) / 2; step > 0; step /= 2 {
		for l := range step {
			acc[l] += acc[l+step]
		}
	}
	return canonical(acc[0])
}
