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

// XIELU applies the activation to each element.
func (d *Device) XIELU(y, x, alpha model.Buffer) {
	match("xielu", y.Len(), x.Len())
	p, n := slopes(alpha)
	out, in := floats(y), floats(x)
	d.parallel(len(in), 8, func(lo, hi int) {
		xieluRow(out[lo:hi], in[lo:hi], p, n)
	})
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
		scratch := make([]float32, 2*width)
		termP, termN := scratch[:width], scratch[width:]
		for t := lo; t < hi; t++ {
			v := in[t*width : (t+1)*width]
			xieluBackwardRow(out[t*width:(t+1)*width], termP, termN, grad[t*width:(t+1)*width], v, p, n)
			rowP[t], rowN[t] = sum(termP), sum(termN)
		}
	})
	raw, acc := floats(alpha), floats(dalpha)
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		acc[0] += float32(exact.Sigmoid(raw[0]) * sum(rowP[lo:hi]))
		acc[1] += float32(exact.Sigmoid(raw[1]) * sum(rowN[lo:hi]))
	}
}
