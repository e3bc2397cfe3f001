package devicetest

import (
	"fmt"
	"math"
	"strconv"

	"github.com/allmend-network/allmend/trainer/model"
)

// Reference returns the loss of each sequence, and the gradient of their sum,
// in float64 and without any rounding to bf16: the mathematics that devices
// approximate. It is as simple as it can be, and slow. params and gradient
// have the layout of Config.Tensors.
func Reference(c model.Config, params []float64, seqs []model.Sequence) (loss, gradient []float64) {
	gradient = make([]float64, c.Params())
	m := reference{c: c, p: map[string][]float64{}, g: map[string][]float64{}}
	for _, t := range c.Tensors() {
		m.p[t.Name] = params[t.Offset : t.Offset+t.Len]
		m.g[t.Name] = gradient[t.Offset : t.Offset+t.Len]
	}
	m.eps = number(c.RMSNormEps)
	for _, s := range seqs {
		loss = append(loss, m.sequence(s))
	}
	return loss, gradient
}

type reference struct {
	c    model.Config
	eps  float64
	p, g map[string][]float64 // by tensor name
}

// number parses a decimal of a valid Config.
func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return v
}

// matrix is a list of rows.
type matrix [][]float64

func zeros(rows, cols int) matrix {
	m := make(matrix, rows)
	for i := range m {
		m[i] = make([]float64, cols)
	}
	return m
}

func add(a, b matrix) matrix {
	out := zeros(len(a), len(a[0]))
	for i := range out {
		for j := range out[i] {
			out[i][j] = a[i][j] + b[i][j]
		}
	}
	return out
}

// sequence runs s forward and backward and returns its loss.
func (m reference) sequence(s model.Sequence) float64 {
	embed := m.p["model.embed_tokens.weight"]
	d := m.c.HiddenSize
	x := zeros(len(s.Input), d)
	for t, id := range s.Input {
		copy(x[t], embed[int(id)*d:])
	}
	var undo []func(matrix) matrix // gradient of a layer's output to that of its input
	for i := range m.c.NumHiddenLayers {
		layer := fmt.Sprintf("model.layers.%d.", i)
		for _, part := range []func(string, matrix, model.Sequence) (matrix, func(matrix) matrix){m.attention, m.mlp} {
			y, back := part(layer, x, s)
			x = add(x, y)
			undo = append(undo, func(dx matrix) matrix { return add(dx, back(dx)) })
		}
	}
	n, backNorm := m.norm("model.norm.weight", x)
	logits, backHead := m.linear("lm_head.weight", n)
	loss, dlogits := crossEntropy(logits, s)
	dx := backNorm(backHead(dlogits))
	for i := len(undo) - 1; i >= 0; i-- {
		dx = undo[i](dx)
	}
	for t, id := range s.Input {
		for j := range d {
			m.g["model.embed_tokens.weight"][int(id)*d+j] += dx[t][j]
		}
	}
	return loss
}

func crossEntropy(logits matrix, s model.Sequence) (loss float64, gradient matrix) {
	gradient = zeros(len(logits), len(logits[0]))
	for t, row := range logits {
		if s.Mask[t] == 0 {
			continue
		}
		z := 0.0
		for _, v := range row {
			z += math.Exp(v)
		}
		loss += math.Log(z) - row[s.Label[t]]
		for j, v := range row {
			gradient[t][j] = math.Exp(v) / z
		}
		gradient[t][s.Label[t]]--
	}
	return loss, gradient
}

// linear computes x·Wᵀ.
func (m reference) linear(name string, x matrix) (matrix, func(matrix) matrix) {
	w, g, in := m.p[name], m.g[name], len(x[0])
	out := len(w) / in
	y := zeros(len(x), out)
	for t := range x {
		for o := range out {
			for i := range in {
				y[t][o] += x[t][i] * w[o*in+i]
			}
		}
	}
	return y, func(dy matrix) matrix {
		dx := zeros(len(x), in)
		for t := range x {
			for o := range out {
				for i := range in {
					dx[t][i] += dy[t][o] * w[o*in+i]
					g[o*in+i] += dy[t][o] * x[t][i]
				}
			}
		}
		return dx
	}
}

// norm is RMSNorm of each row.
func (m reference) norm(name string, x matrix) (matrix, func(matrix) matrix) {
	w, g, d := m.p[name], m.g[name], len(x[0])
	y := zeros(len(x), d)
	r := make([]float64, len(x))
	for t, row := range x {
		square := 0.0
		for _, v := range row {
			square += v * v
		}
		r[t] = 1 / math.Sqrt(square/float64(d)+m.eps)
		for c, v := range row {
			y[t][c] = v * r[t] * w[c]
		}
	}
	return y, func(dy matrix) matrix {
		dx := zeros(len(x), d)
		for t, row := range x {
			s := 0.0
			for c, v := range row {
				s += dy[t][c] * w[c] * v
				g[c] += dy[t][c] * v * r[t]
			}
			for c, v := range row {
				dx[t][c] = r[t]*dy[t][c]*w[c] - v*s*r[t]*r[t]*r[t]/float64(d)
			}
		}
		return dx
	}
}

// split cuts each row into heads: rows of the result are (token, head).
func split(x matrix, dim int) matrix {
	var out matrix
	for _, row := range x {
		for h := 0; h < len(row); h += dim {
			out = append(out, row[h:h+dim:h+dim])
		}
	}
	return out
}

// join undoes split.
func join(x matrix, heads int) matrix {
	var out matrix
	for t := 0; t < len(x); t += heads {
		var row []float64
		for h := range heads {
			row = append(row, x[t+h]...)
		}
		out = append(out, row)
	}
	return out
}

// frequency is the angle per position of rotary pair i.
func (m reference) frequency(i int) float64 {
	f := math.Pow(number(m.c.RopeTheta), -2*float64(i)/float64(m.c.HeadDim()))
	s := m.c.RopeScaling
	if s == nil {
		return f
	}
	turns := float64(s.OriginalMaxPositionEmbeddings) * f / (2 * math.Pi)
	low, high := number(s.LowFreqFactor), number(s.HighFreqFactor)
	keep := max(0, min(1, (turns-low)/(high-low)))
	return (1-keep)*f/number(s.Factor) + keep*f
}

// rotate turns each head by its token's position, or back with sign -1.
func (m reference) rotate(x matrix, heads int, s model.Sequence, sign float64) matrix {
	dim := m.c.HeadDim()
	y := zeros(len(x), dim)
	for r := range x {
		for i := range dim / 2 {
			angle := sign * float64(s.Position[r/heads]) * m.frequency(i)
			sin, cos := math.Sincos(angle)
			y[r][i] = x[r][i]*cos - x[r][i+dim/2]*sin
			y[r][i+dim/2] = x[r][i+dim/2]*cos + x[r][i]*sin
		}
	}
	return y
}

// attention is o_proj(softmax(q·kᵀ)·v) of the normed x.
func (m reference) attention(layer string, x matrix, s model.Sequence) (matrix, func(matrix) matrix) {
	heads, kv, dim := m.c.NumAttentionHeads, m.c.NumKeyValueHeads, m.c.HeadDim()
	n, backNorm := m.norm(layer+"attention_layernorm.weight", x)
	q, backQ := m.linear(layer+"self_attn.q_proj.weight", n)
	k, backK := m.linear(layer+"self_attn.k_proj.weight", n)
	v, backV := m.linear(layer+"self_attn.v_proj.weight", n)
	qn, backQN := m.norm(layer+"self_attn.q_norm.weight", split(q, dim))
	kn, backKN := m.norm(layer+"self_attn.k_norm.weight", split(k, dim))
	o, backO := softmaxMix(m.rotate(qn, heads, s, 1), m.rotate(kn, kv, s, 1), split(v, dim), heads, kv, s)
	y, backY := m.linear(layer+"self_attn.o_proj.weight", join(o, heads))
	return y, func(dy matrix) matrix {
		dq, dk, dv := backO(split(backY(dy), dim))
		dn := backQ(join(backQN(m.rotate(dq, heads, s, -1)), heads))
		dn = add(dn, backK(join(backKN(m.rotate(dk, kv, s, -1)), kv)))
		dn = add(dn, backV(join(dv, kv)))
		return backNorm(dn)
	}
}

// softmaxMix is causal attention within documents. Rows are (token, head).
func softmaxMix(q, k, v matrix, heads, kv int, s model.Sequence) (matrix, func(matrix) (dq, dk, dv matrix)) {
	dim := len(q[0])
	scale := 1 / math.Sqrt(float64(dim))
	o := zeros(len(q), dim)
	p := zeros(len(q), len(s.Input))
	each := func(f func(qi, kj, t, j int)) {
		for t, position := range s.Position {
			for h := range heads {
				for j := t - int(position); j <= t; j++ {
					f(t*heads+h, j*kv+h/(heads/kv), t, j)
				}
			}
		}
	}
	z := make([]float64, len(q))
	each(func(qi, kj, _, j int) {
		p[qi][j] = math.Exp(scale * dot(q[qi], k[kj]))
		z[qi] += p[qi][j]
	})
	each(func(qi, kj, _, j int) {
		p[qi][j] /= z[qi]
		for c := range dim {
			o[qi][c] += p[qi][j] * v[kj][c]
		}
	})
	return o, func(do matrix) (dq, dk, dv matrix) {
		dq, dk, dv = zeros(len(q), dim), zeros(len(k), dim), zeros(len(v), dim)
		mean := make([]float64, len(q))
		each(func(qi, kj, _, j int) { mean[qi] += p[qi][j] * dot(do[qi], v[kj]) })
		each(func(qi, kj, _, j int) {
			ds := p[qi][j] * (dot(do[qi], v[kj]) - mean[qi]) * scale
			for c := range dim {
				dq[qi][c] += ds * k[kj][c]
				dk[kj][c] += ds * q[qi][c]
				dv[kj][c] += p[qi][j] * do[qi][c]
			}
		})
		return dq, dk, dv
	}
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// mlp is down_proj(xielu(up_proj(x))) of the normed x.
func (m reference) mlp(layer string, x matrix, _ model.Sequence) (matrix, func(matrix) matrix) {
	n, backNorm := m.norm(layer+"feedforward_layernorm.weight", x)
	u, backUp := m.linear(layer+"mlp.up_proj.weight", n)
	a, backAct := m.xielu(layer+"mlp.act_fn.", u)
	y, backDown := m.linear(layer+"mlp.down_proj.weight", a)
	return y, func(dy matrix) matrix { return backNorm(backUp(backAct(backDown(dy)))) }
}

func (m reference) xielu(name string, x matrix) (matrix, func(matrix) matrix) {
	rawP, rawN := m.p[name+"alpha_p"][0], m.p[name+"alpha_n"][0]
	beta, eps := float64(model.XIELUBeta), float64(model.XIELUEps)
	p, n := math.Log1p(math.Exp(rawP)), beta+math.Log1p(math.Exp(rawN))
	y := zeros(len(x), len(x[0]))
	for t, row := range x {
		for c, v := range row {
			if v > 0 {
				y[t][c] = p*v*v + beta*v
			} else {
				y[t][c] = n*(math.Expm1(min(v, eps))-v) + beta*v
			}
		}
	}
	return y, func(dy matrix) matrix {
		dx := zeros(len(x), len(x[0]))
		sigmoid := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
		for t, row := range x {
			for c, v := range row {
				g := dy[t][c]
				if v > 0 {
					dx[t][c] = g * (2*p*v + beta)
					m.g[name+"alpha_p"][0] += sigmoid(rawP) * g * v * v
				} else {
					dx[t][c] = g * (n*math.Exp(min(v, eps)) - n + beta)
					m.g[name+"alpha_n"][0] += sigmoid(rawN) * g * (math.Expm1(min(v, eps)) - v)
				}
			}
		}
		return dx
	}
}
