package cpu

import "github.com/allmend-network/allmend/trainer/model"

// attentionRows is how many queries of a head are worked on at a time. Chains
// over queries go through the accumulator, so that it shows in no bit.
const attentionRows = 64

// attention is one head's work on one sequence. Matrices lie in their batch's
// memory with the given number of columns between rows.
type attention struct {
	position []int32 // of the sequence's tokens
	dim      int
	scale    float32

	q, o, do, dq []float32 // of the query head, stride queryStride
	k, v, dk, dv []float32 // of its key-value head, stride kvStride
	stats        []float32 // of the query head, stride statsStride

	queryStride, kvStride, statsStride int

	score, slope []float32 // scratch: attentionRows × the sequence's length
}

// block is a run of queries [lo, hi) and the keys [first, hi) that they may
// read. first is a multiple of 32, which keeps the lanes of rule R4 in place.
type block struct{ first, lo, hi int }

func (a *attention) block(lo int) block {
	start := lo - int(a.position[lo])
	return block{first: start &^ (lanes - 1), lo: lo, hi: min(lo+attentionRows, len(a.position))}
}

// row returns query i's row of a score matrix of bl, and the range of keys it
// may read.
func (a *attention) row(m []float32, bl block, i int) (row []float32, from, to int) {
	width := bl.hi - bl.first
	return m[(i-bl.lo)*width:][:width], i - int(a.position[i]) - bl.first, i + 1 - bl.first
}

// products computes dst = x[bl.lo:bl.hi]·yᵀ over the keys of bl.
func (a *attention) products(dst, x, y []float32, bl block) {
	m, n := bl.hi-bl.lo, bl.hi-bl.first
	gemm(dst, n, x[bl.lo*a.queryStride:], a.queryStride, false, y[bl.first*a.kvStride:], a.kvStride, true, m, n, a.dim, false, 1)
}

// mix computes dst[bl.lo:bl.hi] = weights·y over the keys of bl.
func (a *attention) mix(dst, weights, y []float32, bl block) {
	m, n := bl.hi-bl.lo, bl.hi-bl.first
	gemm(dst[bl.lo*a.queryStride:], a.queryStride, weights, n, false, y[bl.first*a.kvStride:], a.kvStride, false, m, a.dim, n, false, 1)
}

// spread adds weightsᵀ·x[bl.lo:bl.hi] to dst over the keys of bl.
func (a *attention) spread(dst, weights, x []float32, bl block) {
	m, n := bl.hi-bl.first, bl.hi-bl.lo
	gemm(dst[bl.first*a.kvStride:], a.kvStride, weights, m, true, x[bl.lo*a.queryStride:], a.queryStride, false, m, a.dim, n, true, 1)
}

func (a *attention) forward() {
	for lo := 0; lo < len(a.position); lo += attentionRows {
		bl := a.block(lo)
		a.products(a.score, a.q, a.k, bl)
		for i := bl.lo; i < bl.hi; i++ {
			row, from, to := a.row(a.score, bl, i)
			clear(row[:from])
			clear(row[to:])
			s := row[from:to]
			m := a.scale * maximum(s) // rounding keeps order
			expScaled(s, s, a.scale, m)
			inv := 1 / sum(row[:to])
			for j := range s {
				s[j] *= inv
			}
			a.stats[i*a.statsStride], a.stats[i*a.statsStride+1] = m, inv
		}
		a.mix(a.o, a.score, a.v, bl)
	}
}

func (a *attention) backward() {
	for lo := 0; lo < len(a.position); lo += attentionRows {
		bl := a.block(lo)
		a.products(a.score, a.q, a.k, bl)
		a.products(a.slope, a.do, a.v, bl)
		for i := bl.lo; i < bl.hi; i++ {
			a.backwardRow(bl, i)
		}
		a.spread(a.dv, a.score, a.do, bl)
		a.spread(a.dk, a.slope, a.q, bl)
		a.mix(a.dq, a.slope, a.k, bl)
	}
}

// backwardRow turns query i's scores into probabilities, and the gradient of
// those into that of the products.
func (a *attention) backwardRow(bl block, i int) {
	row, from, to := a.row(a.score, bl, i)
	clear(row[:from])
	clear(row[to:])
	slope, _, _ := a.row(a.slope, bl, i)
	clear(slope[:from])
	clear(slope[to:])
	p, ds := row[from:to], slope[from:to]
	m, inv := a.stats[i*a.statsStride], a.stats[i*a.statsStride+1]
	expScaled(p, p, a.scale, m)
	at := i * a.queryStride
	mean := dot(a.do[at:at+a.dim], a.o[at:at+a.dim])
	ds = ds[:len(p)]
	for j := range p {
		v := p[j] * inv
		p[j] = v
		ds[j] = float32(v*(ds[j]-mean)) * a.scale
	}
}

// Attention computes softmax(scale·q·kᵀ)·v of each head within documents.
func (d *Device) Attention(o, stats, q, k, v model.Buffer, b *model.Batch, h model.Heads, scale float32) {
	checkHeads(b, h, []model.Buffer{o, q}, []model.Buffer{k, v}, stats)
	d.parallel(b.Sequences()*h.Query, len(b.Input)*h.Dim, func(lo, hi int) {
		var scratch []float32
		for item := lo; item < hi; item++ {
			a := newAttention(b, item/h.Query, h, scale, &scratch)
			head := item % h.Query
			a.q, a.o = a.query(q, b, item/h.Query, head), a.query(o, b, item/h.Query, head)
			a.k, a.v = a.kv(k, b, item/h.Query, head/(h.Query/h.KV)), a.kv(v, b, item/h.Query, head/(h.Query/h.KV))
			a.stats = a.headStats(stats, b, item/h.Query, head)
			a.forward()
		}
	})
}

// AttentionBackward writes dq, dk and dv. One worker owns a key-value head of
// a sequence, with all the query heads that read it.
func (d *Device) AttentionBackward(dq, dk, dv, do, o, stats, q, k, v model.Buffer, b *model.Batch, h model.Heads, scale float32) {
	checkHeads(b, h, []model.Buffer{dq, do, o, q}, []model.Buffer{dk, dv, k, v}, stats)
	d.Zero(dk)
	d.Zero(dv)
	group := h.Query / h.KV
	d.parallel(b.Sequences()*h.KV, len(b.Input)*h.Dim, func(lo, hi int) {
		var scratch []float32
		for item := lo; item < hi; item++ {
			s, shared := item/h.KV, item%h.KV
			a := newAttention(b, s, h, scale, &scratch)
			a.k, a.v, a.dk, a.dv = a.kv(k, b, s, shared), a.kv(v, b, s, shared), a.kv(dk, b, s, shared), a.kv(dv, b, s, shared)
			for head := shared * group; head < (shared+1)*group; head++ {
				a.q, a.o = a.query(q, b, s, head), a.query(o, b, s, head)
				a.do, a.dq = a.query(do, b, s, head), a.query(dq, b, s, head)
				a.stats = a.headStats(stats, b, s, head)
				a.backward()
			}
		}
	})
}

// newAttention returns the work of any head on sequence s, with scratch that
// grows to its needs.
func newAttention(b *model.Batch, s int, h model.Heads, scale float32, scratch *[]float32) *attention {
	lo, hi := b.Span(s)
	rows := min(attentionRows, hi-lo)
	if need := 2 * rows * (hi - lo); len(*scratch) < need {
		*scratch = make([]float32, need)
	}
	half := rows * (hi - lo)
	return &attention{
		position: b.Position[lo:hi], dim: h.Dim, scale: scale,
		queryStride: h.Query * h.Dim, kvStride: h.KV * h.Dim, statsStride: h.Query * 2,
		score: (*scratch)[:half], slope: (*scratch)[half : 2*half],
	}
}

func (a *attention) query(x model.Buffer, b *model.Batch, s, head int) []float32 {
	return floats(x)[int(b.Offset[s])*a.queryStride+head*a.dim:]
}

func (a *attention) kv(x model.Buffer, b *model.Batch, s, head int) []float32 {
	return floats(x)[int(b.Offset[s])*a.kvStride+head*a.dim:]
}

func (a *attention) headStats(x model.Buffer, b *model.Batch, s, head int) []float32 {
	return floats(x)[int(b.Offset[s])*a.statsStride+head*2:]
}

func checkHeads(b *model.Batch, h model.Heads, query, kv []model.Buffer, stats model.Buffer) {
	n := b.Tokens()
	for _, x := range query {
		match("attention query", x.Len(), n*h.Query*h.Dim)
	}
	for _, x := range kv {
		match("attention key or value", x.Len(), n*h.KV*h.Dim)
	}
	match("attention stats", stats.Len(), n*h.Query*2)
}
