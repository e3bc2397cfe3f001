package model

// backward runs b from the gradient dn of the last norm's output back to the
// embeddings. dx is the gradient of the residual stream throughout.
func (m *Model) backward(b *Batch) {
	c, dev, a := m.config, m.dev, &m.act
	dev.RMSNormBackward(a.dx, m.grad.norm, a.dn, a.x, a.r, m.weight.norm, b)
	for i := c.NumHiddenLayers - 1; i >= 0; i-- {
		m.mlpBackward(a.layer(i), &m.weight.layers[i], &m.grad.layers[i], b)
		m.attentionBackward(a.layer(i), &m.weight.layers[i], &m.grad.layers[i], b)
	}
	dev.Scatter(m.grad.embed, a.dx, b, c.HiddenSize)
}

// mlpBackward turns dx, of the layer's output, into that of mid.
func (m *Model) mlpBackward(a *layerActivations, w, grad *layerWeights, b *Batch) {
	c, dev, n, g := m.config, m.dev, b.Tokens(), &m.act
	d, inner := c.HiddenSize, c.IntermediateSize
	dev.MatMul(g.da, g.dx, false, w.down, false, n, inner, d, false)
	dev.MatMul(grad.down, g.dx, true, a.a, false, d, inner, n, true)
	dev.XIELUBackward(g.da, grad.alpha, g.da, a.u, w.alpha, b)
	dev.MatMul(g.dn, g.da, false, w.up, false, n, d, inner, false)
	dev.MatMul(grad.up, g.da, true, a.n2, false, inner, d, n, true)
	dev.RMSNormBackward(g.dtmp, grad.mlpNorm, g.dn, a.mid, a.r2, w.mlpNorm, b)
	dev.Add(g.dx, g.dx, g.dtmp)
}

// attentionBackward turns dx, of mid, into that of the layer's input.
func (m *Model) attentionBackward(a *layerActivations, w, grad *layerWeights, b *Batch) {
	c, dev, n, g := m.config, m.dev, b.Tokens(), &m.act
	d, h := c.HiddenSize, m.heads()
	query, kv := h.Query*h.Dim, h.KV*h.Dim
	dev.MatMul(g.do, g.dx, false, w.o, false, n, query, d, false)
	dev.MatMul(grad.o, g.dx, true, a.o, false, d, query, n, true)
	dev.AttentionBackward(g.dq, g.dk, g.dv, g.do, a.o, a.stats, a.qr, a.kr, a.v, b, h, c.attentionScale())
	dev.Rotate(g.dq, m.rope, b, h.Query, h.Dim, true)
	dev.Rotate(g.dk, m.rope, b, h.KV, h.Dim, true)
	dev.RMSNormBackward(g.dq, grad.qNorm, g.dq, a.q, a.rq, w.qNorm, b)
	dev.RMSNormBackward(g.dk, grad.kNorm, g.dk, a.k, a.rk, w.kNorm, b)
	for i, p := range []struct {
		dy, w, dw Buffer
		width     int
	}{{g.dq, w.q, grad.q, query}, {g.dk, w.k, grad.k, kv}, {g.dv, w.v, grad.v, kv}} {
		dev.MatMul(g.dn, p.dy, false, p.w, false, n, d, p.width, i > 0)
		dev.MatMul(p.dw, p.dy, true, a.n1, false, p.width, d, n, true)
	}
	dev.RMSNormBackward(g.dtmp, grad.attentionNorm, g.dn, a.x, a.r1, w.attentionNorm, b)
	dev.Add(g.dx, g.dx, g.dtmp)
}
