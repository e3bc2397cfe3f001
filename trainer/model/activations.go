package model

import "fmt"

// activations are the buffers that one pass over a batch writes. All are views
// of memory, cut anew for each batch.
type activations struct {
	memory   Buffer
	capacity int // elements of memory

	layers  []layerActivations
	x, n, r Buffer // last residual stream, its norm, 1/rms
	loss    Buffer // [N]
	logits  Buffer // [headTokens, V]

	// Gradients, which one layer at a time uses.
	dx, dn, dtmp       Buffer // [N, d]
	do, dq, dk, dv, da Buffer
}

// layerActivations are what the backward pass of a layer reads again.
type layerActivations struct {
	x, n1, r1         Buffer // residual stream, its norm, 1/rms
	q, k, v           Buffer // projections
	rq, rk            Buffer // 1/rms of each head
	qr, kr            Buffer // normed and rotated
	o, stats          Buffer // attention
	mid, n2, r2, u, a Buffer // residual stream, its norm, 1/rms, up, xIELU
}

// maxHeadTokens bounds how many rows of logits exist at a time. Rows are
// independent and lm_head's gradient adds tokens ascending, so that the bound
// shows in no bit.
const maxHeadTokens = 512

// prepare cuts buffers for a batch of n tokens, from more memory if need be.
// Without training, all layers share one set of buffers.
func (a *activations) prepare(c Config, dev Device, n int, training bool) error {
	layers := 1
	if training {
		layers = c.NumHiddenLayers
	}
	a.layers = make([]layerActivations, layers)
	total := 0
	a.cut(c, n, func(k int) Buffer { total += k; return nil })
	if total > a.capacity {
		if a.memory != nil {
			dev.Free(a.memory)
		}
		a.memory, a.capacity = nil, 0
		memory, err := dev.Alloc(total)
		if err != nil {
			return fmt.Errorf("model: memory for %d tokens: %w", n, err)
		}
		a.memory, a.capacity = memory, total
	}
	offset := 0
	a.cut(c, n, func(k int) Buffer { offset += k; return a.memory.Slice(offset-k, offset) })
	return nil
}

// cut calls take for each buffer in a fixed order.
func (a *activations) cut(c Config, n int, take func(int) Buffer) {
	d, i := c.HiddenSize, c.IntermediateSize
	heads, kvHeads := c.NumAttentionHeads, c.NumKeyValueHeads
	query, kv := heads*c.HeadDim(), kvHeads*c.HeadDim()
	for l := range a.layers {
		a.layers[l] = layerActivations{
			x: take(n * d), n1: take(n * d), r1: take(n),
			q: take(n * query), k: take(n * kv), v: take(n * kv),
			rq: take(n * heads), rk: take(n * kvHeads),
			qr: take(n * query), kr: take(n * kv),
			o: take(n * query), stats: take(n * heads * 2),
			mid: take(n * d), n2: take(n * d), r2: take(n),
			u: take(n * i), a: take(n * i),
		}
	}
	a.x, a.n, a.r, a.loss = take(n*d), take(n*d), take(n), take(n)
	a.logits = take(min(n, maxHeadTokens) * c.VocabSize)
	a.dx, a.dn, a.dtmp = take(n*d), take(n*d), take(n*d)
	a.do, a.dq, a.dk, a.dv, a.da = take(n*query), take(n*query), take(n*kv), take(n*kv), take(n*i)
}

// layer returns the buffers of layer i.
func (a *activations) layer(i int) *layerActivations { return &a.layers[i%len(a.layers)] }
