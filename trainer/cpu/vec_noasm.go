//go:build !amd64

package cpu

import "github.com/allmend-network/allmend/trainer/exact"

func expScaled(dst, x []float32, scale, shift float32) { expScaledGo(dst, x, scale, shift) }

func sum(x []float32) float32 { return exact.Sum(x) }

func dot(x, y []float32) float32 { return exact.Dot(x, y) }

func maximum(x []float32) float32 { return exact.Max(x) }

func xieluRow(y, x []float32, p, n float32) { xieluGo(y, x, p, n) }

func xieluBackwardRow(dx, termP, termN, dy, x []float32, p, n float32) {
	xieluBackwardGo(dx, termP, termN, dy, x, p, n)
}
