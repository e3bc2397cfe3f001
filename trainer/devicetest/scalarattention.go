package devicetest

import (
	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
)

// reader finds the heads of a batch: element d of query head h, or of the
// key-value head it reads, at token t.
type reader struct {
	scalar
	b *model.Batch
	h model.Heads
}

func (r reader) query(x model.Buffer, t, head, d int) *float32 {
	return &list(x)[(t*r.h.Query+head)*r.h.Dim+d]
}

func (r reader) kv(x model.Buffer, t, head, d int) *float32 {
	return &list(x)[(t*r.h.KV+head/(r.h.Query/r.h.KV))*r.h.Dim+d]
}

// weights returns the maximum, the inverse sum, and the probabilities with
// which query head `head` of token t, in a sequence that starts at lo, reads
// tokens lo to t.
func (r reader) weights(q, k model.Buffer, lo, t, head int, scale float32) (m, inv float32, p []float32) {
	start := t - int(r.b.Position[t])
	var scores []float32
	for j := start; j <= t; j++ {
		scores = append(scores, scale*r.chain(0, r.h.Dim,
			func(d int) float32 { return *r.query(q, t, head, d) },
			func(d int) float32 { return *r.kv(k, j, head, d) }))
	}
	m = greatest(scores)
	p = make([]float32, t+1-lo)
	for j, s := range scores {
		p[start-lo+j] = exact.Exp(s - m)
	}
	inv = 1 / sum(len(p), func(j int) float32 { return p[j] })
	for j := range p {
		p[j] *= inv
	}
	return m, inv, p
}

func (dev scalar) Attention(o, stats, q, k, v model.Buffer, b *model.Batch, h model.Heads, scale float32) {
	r := reader{dev, b, h}
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		for t := lo; t < hi; t++ {
			for head := range h.Query {
				m, inv, p := r.weights(q, k, lo, t, head, scale)
				at := (t*h.Query + head) * 2
				list(stats)[at], list(stats)[at+1] = m, inv
				for d := range h.Dim {
					*r.query(o, t, head, d) = r.chain(0, len(p),
						func(j int) float32 { return p[j] },
						func(j int) float32 { return *r.kv(v, lo+j, head, d) })
				}
			}
		}
	}
}

func (dev scalar) AttentionBackward(dq, dk, dv, do, o, stats, q, k, v model.Buffer, b *model.Batch, h model.Heads, scale float32) {
	r := reader{dev, b, h}
	clear(list(dk))
	clear(list(dv))
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		for head := range h.Query {
			for t := lo; t < hi; t++ {
				_, _, p := r.weights(q, k, lo, t, head, scale)
				mean := sum(h.Dim, func(d int) float32 { return float32(*r.query(do, t, head, d) * *r.query(o, t, head, d)) })
				ds := make([]float32, len(p))
				for j := t - int(b.Position[t]) - lo; j < len(p); j++ {
					dp := r.chain(0, h.Dim,
						func(d int) float32 { return *r.query(do, t, head, d) },
						func(d int) float32 { return *r.kv(v, lo+j, head, d) })
					ds[j] = float32(p[j]*(dp-mean)) * scale
				}
				for d := range h.Dim {
					*r.query(dq, t, head, d) = r.chain(0, len(ds),
						func(j int) float32 { return ds[j] },
						func(j int) float32 { return *r.kv(k, lo+j, head, d) })
					for j := range p {
						next := func(dst *float32, a, b float32) {
							*dst = r.chain(*dst, 1, func(int) float32 { return a }, func(int) float32 { return b })
						}
						next(r.kv(dk, lo+j, head, d), ds[j], *r.query(q, t, head, d))
						next(r.kv(dv, lo+j, head, d), p[j], *r.query(do, t, head, d))
					}
				}
			}
		}
	}
}
