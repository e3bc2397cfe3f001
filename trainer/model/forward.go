package model

// forward runs b from its tokens to the last norm. With as many layer buffers
// as layers it leaves there what backward reads.
func (m *Model) forward(b *Batch) {
	c, dev, a := m.config, m.dev, &m.act
	dev.Gather(a.layer(0).x, m.weight.embed, b, c.HiddenSize)
	for i := range c.NumHiddenLayers {
		out := a.x
		if i+1 < c.NumHiddenLayers {
			out = a.layer(i + 1).x
		}
		m.attentionForward(a.layer(i), &m.weight.layers[i], b)
		m.mlpForward(out, a.layer(i), &m.weight.layers[i], b)
	}
	dev.RMSNorm(a.n, a.r, a.x, m.weight.norm, c.normEps())
}

// attentionForward computes mid = x + o_proj(attention(norm(x))).
func (m *Model) attentionForward(a *layerActivations, w *layerWeights, b *Batch) {
	c, dev, n := m.config, m.dev, b.Tokens()
	d, h := c.HiddenSize, m.heads()
	query, kv := h.Query*h.Dim, h.KV*h.Dim
	dev.RMSNorm(a.n1, a.r1, a.x, w.attentionNorm, c.normEps())
	dev.MatMul(a.q, a.n1, false, w.q, true, n, query, d, false)
	dev.MatMul(a.k, a.n1, false, w.k, true, n, kv, d, false)
	dev.MatMul(a.v, a.n1, false, w.v, true, n, kv, d, false)
	dev.RMSNorm(a.qr, a.rq, a.q, w.qNorm, c.normEps())
	dev.RMSNorm(a.kr, a.rk, a.k, w.kNorm, c.normEps())
	dev.Rotate(a.qr, m.rope, b, h.Query, h.Dim, false)
	dev.Rotate(a.kr, m.rope, b, h.KV, h.Dim, false)
	dev.Attention(a.o, a.stats, a.qr, a.kr, a.v, b, h, c.attentionScale())
	dev.MatMul(m.act.dtmp, a.o, false, w.o, true, n, d, query, false)
	dev.Add(a.mid, a.x, m.act.dtmp)
}

// mlpForward computes out = mid + down_proj(xielu(up_proj(norm(mid)))).
func (m *Model) mlpForward(out Buffer, a *layerActivations, w *layerWeights, b *Batch) {
	c, dev, n := m.config, m.dev, b.Tokens()
	d, inner := c.HiddenSize, c.IntermediateSize
	dev.RMSNorm(a.n2, a.r2, a.mid, w.mlpNorm, c.normEps())
	dev.MatMul(a.u, a.n2, false, w.up, true, n, inner, d, false)
	dev.XIELU(a.a, a.u, w.alpha)
	dev.MatMul(m.act.dtmp, a.a, false, w.down, true, n, d, inner, false)
	dev.Add(out, a.mid, m.act.dtmp)
}

// head computes the loss of each token and, when training, the gradient dn of
// the last norm's output and that of lm_head.
func (m *Model) head(b *Batch, training bool) {
	c, dev, a := m.config, m.dev, &m.act
	d, v := c.HiddenSize, c.VocabSize
	for lo := 0; lo < b.Tokens(); lo += maxHeadTokens {
		hi := min(lo+maxHeadTokens, b.Tokens())
		rows, n := hi-lo, a.n.Slice(lo*d, hi*d)
		logits := a.logits.Slice(0, rows*v)
		dev.MatMul(logits, n, false, m.weight.head, true, rows, v, d, false)
		dev.CrossEntropy(a.loss.Slice(lo, hi), logits, b, lo)
		if !training {
			continue
		}
		dev.MatMul(a.dn.Slice(lo*d, hi*d), logits, false, m.weight.head, false, rows, d, v, false)
		dev.MatMul(m.grad.head, logits, true, n, false, v, d, rows, true)
	}
}

func (m *Model) heads() Heads {
	c := m.config
	return Heads{Query: c.NumAttentionHeads, KV: c.NumKeyValueHeads, Dim: c.HeadDim()}
}
