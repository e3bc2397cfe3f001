package cpu

import (
	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
)

// RMSNorm normalises each row of x and scales it by w.
func (d *Device) RMSNorm(y, r, x, w model.Buffer, eps float32) {
	width, rows := w.Len(), r.Len()
	match("rmsnorm x", x.Len(), rows*width)
	match("rmsnorm y", y.Len(), rows*width)
	out, rms, in, weight := floats(y), floats(r), floats(x), floats(w)
	d.parallel(rows, width, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := in[i*width : (i+1)*width]
			inv := 1 / exact.Sqrt(dot(row, row)/float32(width)+eps)
			rms[i] = inv
			dst, weight := out[i*width:(i+1)*width], weight[:len(row)]
			for c, v := range row {
				dst[c] = float32(v*inv) * weight[c]
			}
		}
	})
}

// RMSNormBackward writes dx and adds each sequence's dw.
func (d *Device) RMSNormBackward(dx, dw, dy, x, r, w model.Buffer, b *model.Batch) {
	width, rows := w.Len(), r.Len()
	match("rmsnorm backward x", x.Len(), rows*width)
	match("rmsnorm backward dy", dy.Len(), rows*width)
	match("rmsnorm backward dx", dx.Len(), rows*width)
	match("rmsnorm backward dw", dw.Len(), width)
	out, grad, in, rms, weight := floats(dx), floats(dy), floats(x), floats(r), floats(w)
	d.normWeightGradient(floats(dw), grad, in, rms, b)
	d.parallel(rows, 3*width, func(lo, hi int) {
		u := make([]float32, width)
		for i := lo; i < hi; i++ {
			g, row, dst := grad[i*width:(i+1)*width], in[i*width:(i+1)*width], out[i*width:(i+1)*width]
			for c := range u {
				u[c] = g[c] * weight[c]
			}
			inv := rms[i]
			s := float32(float32(dot(u, row)*inv)*inv) * inv / float32(width)
			for c, v := range u {
				dst[c] = float32(v*inv) - float32(row[c]*s)
			}
		}
	})
}

// lanes is the number of partial sums of rule R4.
const lanes = 32

// normWeightGradient adds to dw, for each sequence in order, the column sums
// of dy*(x*r) over its rows by rule R4.
func (d *Device) normWeightGradient(dw, dy, x, r []float32, b *model.Batch) {
	width, perToken := len(dw), len(r)/b.Tokens()
	match("rmsnorm backward rows", perToken*b.Tokens(), len(r))
	partial := make([]float32, b.Sequences()*lanes*width)
	d.parallel(b.Sequences()*lanes, len(x)/(lanes*b.Sequences()), func(lo, hi int) {
		for s := lo / lanes; s*lanes < hi; s++ {
			first, end := b.Span(s)
			first, end = first*perToken, end*perToken
			from, to := max(lo-s*lanes, 0), min(hi-s*lanes, lanes)
			for base := first; base < end; base += lanes {
				for i := base + from; i < min(base+to, end); i++ {
					acc := partial[(s*lanes+i-base)*width:][:width]
					addScaled(acc, dy[i*width:(i+1)*width], x[i*width:(i+1)*width], r[i])
				}
			}
		}
	})
	for s := range b.Sequences() {
		sum := butterfly(partial[s*lanes*width:(s+1)*lanes*width], width)
		addTo(dw, dw, sum)
	}
}

// addScaled adds dy*(x*r) to acc.
func addScaled(acc, dy, x []float32, r float32) {
	dy, x = dy[:len(acc)], x[:len(acc)]
	for c := range acc {
		acc[c] += float32(dy[c] * float32(x[c]*r))
	}
}

// butterfly combines 32 rows of partial sums in place and returns the total.
func butterfly(partial []float32, width int) []float32 {
	for step := lanes / 2; step > 0; step /= 2 {
		addTo(partial[:step*width], partial[:step*width], partial[step*width:2*step*width])
	}
	return partial[:width]
}

// Rotate applies rotary position embedding in place, or undoes it.
func (d *Device) Rotate(x, table model.Buffer, b *model.Batch, heads, dim int, inverse bool) {
	match("rotate", x.Len(), b.Tokens()*heads*dim)
	v, angles, half := floats(x), floats(table), dim/2
	d.parallel(b.Tokens(), heads*dim, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			row := angles[int(b.Position[t])*dim:][:dim]
			for h := range heads {
				head := v[(t*heads+h)*dim:][:dim]
				rotate(head[:half], head[half:], row[:half], row[half:], inverse)
			}
		}
	})
}

func rotate(x, y, cos, sin []float32, inverse bool) {
	y, cos, sin = y[:len(x)], cos[:len(x)], sin[:len(x)]
	for i := range x {
		c, s := cos[i], sin[i]
		if inverse {
			s = -s
		}
		a, b := x[i], y[i]
		x[i] = float32(a*c) - float32(b*s)
		y[i] = float32(b*c) + float32(a*s)
	}
}
