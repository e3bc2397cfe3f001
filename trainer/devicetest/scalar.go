package devicetest

import (
	"slices"

	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
)

// scalar is the dumbest model.Device: the pseudocode of the interface, one
// element after another. Every other device must return its bits.
type scalar struct {
	unrounded bool // operands of products keep all their bits: for comparison with float64
}

type plain []float32

func (p plain) Len() int                      { return len(p) }
func (p plain) Slice(lo, hi int) model.Buffer { return p[lo:hi] }

func list(b model.Buffer) []float32 { return b.(plain) }

func (scalar) Alloc(n int) (model.Buffer, error)              { return make(plain, n), nil }
func (scalar) Free(model.Buffer)                              {}
func (scalar) Upload(dst model.Buffer, src []float32) error   { copy(list(dst), src); return nil }
func (scalar) Download(dst []float32, src model.Buffer) error { copy(dst, list(src)); return nil }
func (scalar) Zero(x model.Buffer)                            { clear(list(x)) }
func (scalar) Finite(x model.Buffer) bool                     { return exact.Finite(list(x)) }
func (scalar) Close() error                                   { return nil }

// sum is rule R4 with both halves of each xor pair written out.
func sum(n int, term func(i int) float32) float32 {
	var lane [32]float32
	for i := range n {
		lane[i%32] += term(i)
	}
	for _, step := range []int{16, 8, 4, 2, 1} {
		before := lane
		for l := range lane {
			lane[l] = before[l] + before[l^step]
		}
	}
	return lane[0]
}

// chain is dot(k): n products of bf16 operands, ascending, from start.
func (s scalar) chain(start float32, n int, a, b func(k int) float32) float32 {
	for k := range n {
		x, y := a(k), b(k)
		if !s.unrounded {
			x, y = exact.BF16(x), exact.BF16(y)
		}
		start += float32(x * y)
	}
	return start
}

func greatest(x []float32) float32 {
	m := x[0]
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func (scalar) Add(dst, a, b model.Buffer) {
	for i := range list(dst) {
		list(dst)[i] = list(a)[i] + list(b)[i]
	}
}

func (s scalar) MatMul(c, a model.Buffer, transA bool, b model.Buffer, transB bool, m, n, k int, accumulate bool) {
	at := func(x model.Buffer, trans bool, rows, cols, i, j int) float32 {
		if trans {
			return list(x)[j*rows+i]
		}
		return list(x)[i*cols+j]
	}
	for i := range m {
		for j := range n {
			var start float32
			if accumulate {
				start = list(c)[i*n+j]
			}
			list(c)[i*n+j] = s.chain(start, k,
				func(x int) float32 { return at(a, transA, m, k, i, x) },
				func(x int) float32 { return at(b, transB, k, n, x, j) })
		}
	}
}

func (scalar) Gather(y, table model.Buffer, b *model.Batch, width int) {
	for t, id := range b.Input {
		copy(list(y)[t*width:(t+1)*width], list(table)[int(id)*width:])
	}
}

func (scalar) Scatter(dtable, dy model.Buffer, b *model.Batch, width int) {
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		for _, id := range slices.Compact(slices.Sorted(slices.Values(b.Input[lo:hi]))) {
			for c := range width {
				var total float32
				for t := lo; t < hi; t++ {
					if b.Input[t] == id {
						total += list(dy)[t*width+c]
					}
				}
				list(dtable)[int(id)*width+c] += total
			}
		}
	}
}

func (scalar) RMSNorm(y, r, x, w model.Buffer, eps float32) {
	d := w.Len()
	for i := range r.Len() {
		row := list(x)[i*d : (i+1)*d]
		mean := sum(d, func(c int) float32 { return float32(row[c] * row[c]) }) / float32(d)
		list(r)[i] = 1 / exact.Sqrt(mean+eps)
		for c, v := range row {
			list(y)[i*d+c] = float32(v*list(r)[i]) * list(w)[c]
		}
	}
}

func (scalar) RMSNormBackward(dx, dw, dy, x, r, w model.Buffer, b *model.Batch) {
	d := w.Len()
	perToken := r.Len() / b.Tokens()
	g, in := slices.Clone(list(dy)), list(x)
	for i, inv := range list(r) {
		u := func(c int) float32 { return float32(g[i*d+c] * list(w)[c]) }
		s := sum(d, func(c int) float32 { return float32(u(c) * in[i*d+c]) })
		s = s * inv * inv * inv / float32(d)
		for c := range d {
			list(dx)[i*d+c] = float32(u(c)*inv) - float32(in[i*d+c]*s)
		}
	}
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		lo, hi = lo*perToken, hi*perToken
		for c := range d {
			list(dw)[c] += sum(hi-lo, func(i int) float32 {
				return float32(g[(lo+i)*d+c] * float32(in[(lo+i)*d+c]*list(r)[lo+i]))
			})
		}
	}
}

func (scalar) Rotate(x, table model.Buffer, b *model.Batch, heads, dim int, inverse bool) {
	for t, p := range b.Position {
		for h := range heads {
			v := list(x)[(t*heads+h)*dim:][:dim]
			for i := range dim / 2 {
				c, s := list(table)[int(p)*dim+i], list(table)[int(p)*dim+dim/2+i]
				if inverse {
					s = -s
				}
				first, second := v[i], v[i+dim/2]
				v[i] = float32(first*c) - float32(second*s)
				v[i+dim/2] = float32(second*c) + float32(first*s)
			}
		}
	}
}

func (scalar) XIELU(y, x, alpha model.Buffer) {
	p, n := exact.Softplus(list(alpha)[0]), model.XIELUBeta+exact.Softplus(list(alpha)[1])
	for i, v := range list(x) {
		list(y)[i] = float32(float32(p*v)*v) + float32(model.XIELUBeta*v)
		if !(v > 0) {
			list(y)[i] = float32(n*(exact.Expm1(min(v, model.XIELUEps))-v)) + float32(model.XIELUBeta*v)
		}
	}
}

func (scalar) XIELUBackward(dx, dalpha, dy, x, alpha model.Buffer, b *model.Batch) {
	p, n := exact.Softplus(list(alpha)[0]), model.XIELUBeta+exact.Softplus(list(alpha)[1])
	g, in := slices.Clone(list(dy)), list(x)
	width := len(in) / b.Tokens()
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		total := func(positive bool, f func(i int) float32) float32 {
			return sum(hi-lo, func(t int) float32 {
				return sum(width, func(c int) float32 {
					if i := (lo+t)*width + c; (in[i] > 0) == positive {
						return f(i)
					}
					return 0
				})
			})
		}
		sp := total(true, func(i int) float32 { return float32(g[i] * float32(in[i]*in[i])) })
		sn := total(false, func(i int) float32 { return float32(g[i] * (exact.Expm1(min(in[i], model.XIELUEps)) - in[i])) })
		list(dalpha)[0] += float32(exact.Sigmoid(list(alpha)[0]) * sp)
		list(dalpha)[1] += float32(exact.Sigmoid(list(alpha)[1]) * sn)
	}
	for i, v := range in {
		if v > 0 {
			list(dx)[i] = g[i] * (float32((p+p)*v) + model.XIELUBeta)
		} else {
			list(dx)[i] = g[i] * (float32(n*exact.Expm1(min(v, model.XIELUEps))) + model.XIELUBeta)
		}
	}
}

func (scalar) CrossEntropy(loss, logits model.Buffer, b *model.Batch, first int) {
	rows := loss.Len()
	width := logits.Len() / rows
	for i := range rows {
		row := list(logits)[i*width : (i+1)*width]
		if b.Mask[first+i] == 0 {
			clear(row)
			list(loss)[i] = 0
			continue
		}
		label, m := b.Label[first+i], greatest(row)
		target := row[label]
		z := sum(width, func(c int) float32 { return exact.Exp(row[c] - m) })
		for c, v := range row {
			row[c] = exact.Exp(v-m) * (1 / z)
		}
		row[label] -= 1
		list(loss)[i] = (exact.Log(z) + m) - target
	}
}
