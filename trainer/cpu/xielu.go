package cpu

import (
	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
)

// slopes returns the effective slopes of xIELU from the raw ones.
func slopes(alpha model.Buffer) (p, n float32) {
	match("xielu alpha", alpha.Len(), 2)
	raw := floats(alpha)
	return exact.Softplus(raw[0]), model.XIELUBeta + exact.Softplus(raw[1])
}

// xieluBlock is how many elements have their exponential taken at a time.
const xieluBlock = 512

// negativeExpm1 writes expm1(min(x, ε)).
func negativeExpm1(dst, x []float32) {
	for i, v := range x {
		if !(v < model.XIELUEps) {
			v = model.XIELUEps
		}
		dst[i] = v
	}
	exact.Expm1Slice(dst, dst)
}

// XIELU applies the activation to each element.
func (d *Device) XIELU(y, x, alpha model.Buffer) {
	match("xielu", y.Len(), x.Len())
	p, n := slopes(alpha)
	out, in := floats(y), floats(x)
	d.parallel(len(in), 8, func(lo, hi int) {
		var block [xieluBlock]float32
		for ; lo < hi; lo += xieluBlock {
			v := in[lo:min(lo+xieluBlock, hi)]
			e := block[:len(v)]
			negativeExpm1(e, v)
			xielu(out[lo:lo+len(v)], v, e, p, n)
		}
	})
}

func xielu(y, x, e []float32, p, n float32) {
	y, e = y[:len(x)], e[:len(x)]
	for i, v := range x {
		if v > 0 {
			y[i] = float32(float32(p*v)*v) + float32(model.XIELUBeta*v)
		} else {
			y[i] = float32(n*(e[i]-v)) + float32(model.XIELUBeta*v)
		}
	}
}

// XIELUBackward writes dx and adds each sequence's gradient of the slopes.
func (d *Device) XIELUBackward(dx, dalpha, dy, x, alpha model.Buffer, b *model.Batch) {
	match("xielu backward dx", dx.Len(), x.Len())
	match("xielu backward dy", dy.Len(), x.Len())
	match("xielu backward dalpha", dalpha.Len(), 2)
	rows := b.Tokens()
	width := x.Len() / rows
	match("xielu backward x", x.Len(), rows*width)
	p, n := slopes(alpha)
	out, grad, in := floats(dx), floats(dy), floats(x)
	rowP, rowN := make([]float32, rows), make([]float32, rows)
	d.parallel(rows, 8*width, func(lo, hi int) {
		scratch := make([]float32, 3*width)
		e, termP, termN := scratch[:width], scratch[width:2*width], scratch[2*width:]
		for t := lo; t < hi; t++ {
			v := in[t*width : (t+1)*width]
			negativeExpm1(e, v)
			xieluBackward(out[t*width:(t+1)*width], termP, termN, grad[t*width:(t+1)*width], v, e, p, n)
			rowP[t], rowN[t] = exact.Sum(termP), exact.Sum(termN)
		}
	})
	raw, acc := floats(alpha), floats(dalpha)
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		acc[0] += float32(exact.Sigmoid(raw[0]) * exact.Sum(rowP[lo:hi]))
		acc[1] += float32(exact.Sigmoid(raw[1]) * exact.Sum(rowN[lo:hi]))
	}
}

func xieluBackward(dx, termP, termN, dy, x, e []float32, p, n float32) {
	dx, termP, termN, dy, e = dx[:len(x)], termP[:len(x)], termN[:len(x)], dy[:len(x)], e[:len(x)]
	for i, v := range x {
		g := dy[i]
		if v > 0 {
			dx[i] = g * (float32((p+p)*v) + model.XIELUBeta)
			termP[i], termN[i] = g*float32(v*v), 0
		} else {
			dx[i] = g * (float32(n*e[i]) + model.XIELUBeta)
			termP[i], termN[i] = 0, g*(e[i]-v)
		}
	}
}
