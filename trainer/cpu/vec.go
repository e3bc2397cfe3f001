package cpu

import (
	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
)

// The definitions of the vector operations, in terms of package exact. Those of vec_amd64.go return the same bits.

// expScaledGo writes dst[i] = exp(scale·x[i] - shift).
func expScaledGo(dst, x []float32, scale, shift float32) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] = exact.Exp(float32(scale*v) - shift)
	}
}

// xieluGo writes the activation of x, of effective slopes p and n.
func xieluGo(y, x []float32, p, n float32) {
	y = y[:len(x)]
	for i, v := range x {
		if v > 0 {
			y[i] = float32(float32(p*v)*v) + float32(model.XIELUBeta*v)
		} else {
			y[i] = float32(n*(xieluExpm1(v)-v)) + float32(model.XIELUBeta*v)
		}
	}
}

// xieluBackwardGo writes dx, and the terms of the gradients of p and n.
func xieluBackwardGo(dx, termP, termN, dy, x []float32, p, n float32) {
	dx, termP, termN, dy = dx[:len(x)], termP[:len(x)], termN[:len(x)], dy[:len(x)]
	for i, v := range x {
		g := dy[i]
		if v > 0 {
			dx[i] = g * (float32((p+p)*v) + model.XIELUBeta)
			termP[i], termN[i] = g*float32(v*v), 0
		} else {
			e := xieluExpm1(v)
			dx[i] = g * (float32(n*e) + model.XIELUBeta)
			termP[i], termN[i] = 0, g*(e-v)
		}
	}
}

// xieluExpm1 returns expm1(min(v, ε)).
func xieluExpm1(v float32) float32 {
	if !(v < model.XIELUEps) {
		v = model.XIELUEps
	}
	return exact.Expm1(v)
}
