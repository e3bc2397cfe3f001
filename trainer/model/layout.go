package model

import "fmt"

// Tensor is a named part of the parameter vector, row-major.
type Tensor struct {
	Name   string // key in a Hugging Face state dict
	Shape  []int
	Offset int // of the first element in the parameter vector
	Len    int // product of Shape
}

// Tensors returns the trainable tensors of c in the order in which they lie,
// without gaps, in the parameter vector (and in its gradient and the
// optimizer's state):
//
//	model.embed_tokens.weight                            [V, d]
//	for each layer i, under model.layers.i.:
//	    attention_layernorm.weight                       [d]
//	    self_attn.q_proj.weight                          [H·h, d]
//	    self_attn.k_proj.weight                          [G·h, d]
//	    self_attn.v_proj.weight                          [G·h, d]
//	    self_attn.o_proj.weight                          [d, H·h]
//	    self_attn.q_norm.weight                          [h]
//	    self_attn.k_norm.weight                          [h]
//	    feedforward_layernorm.weight                     [d]
//	    mlp.up_proj.weight                               [I, d]
//	    mlp.down_proj.weight                             [d, I]
//	    mlp.act_fn.alpha_p                               [1]
//	    mlp.act_fn.alpha_n                               [1]
//	model.norm.weight                                    [d]
//	lm_head.weight                                       [V, d]
//
// V is vocab_size, d hidden_size, I intermediate_size, H and G the numbers of
// query and key-value heads, h the head dimension.
func (c Config) Tensors() []Tensor {
	var all []Tensor
	offset := 0
	add := func(name string, shape ...int) {
		n := 1
		for _, s := range shape {
			n *= s
		}
		all = append(all, Tensor{Name: name, Shape: shape, Offset: offset, Len: n})
		offset += n
	}
	d, h := c.HiddenSize, c.HeadDim()
	query, kv := c.NumAttentionHeads*h, c.NumKeyValueHeads*h
	add("model.embed_tokens.weight", c.VocabSize, d)
	for i := range c.NumHiddenLayers {
		layer := fmt.Sprintf("model.layers.%d.", i)
		add(layer+"attention_layernorm.weight", d)
		add(layer+"self_attn.q_proj.weight", query, d)
		add(layer+"self_attn.k_proj.weight", kv, d)
		add(layer+"self_attn.v_proj.weight", kv, d)
		add(layer+"self_attn.o_proj.weight", d, query)
		add(layer+"self_attn.q_norm.weight", h)
		add(layer+"self_attn.k_norm.weight", h)
		add(layer+"feedforward_layernorm.weight", d)
		add(layer+"mlp.up_proj.weight", c.IntermediateSize, d)
		add(layer+"mlp.down_proj.weight", d, c.IntermediateSize)
		add(layer+"mlp.act_fn.alpha_p", 1)
		add(layer+"mlp.act_fn.alpha_n", 1)
	}
	add("model.norm.weight", d)
	add("lm_head.weight", c.VocabSize, d)
	return all
}

// Constant is a scalar (shape []) that a Hugging Face checkpoint must hold
// although it is never trained.
type Constant struct {
	Name  string
	Value float32
}

// Constants returns the constants of c, layer by layer.
func (c Config) Constants() []Constant {
	all := make([]Constant, 0, 2*c.NumHiddenLayers)
	for i := range c.NumHiddenLayers {
		layer := fmt.Sprintf("model.layers.%d.mlp.act_fn.", i)
		all = append(all, Constant{layer + "beta", XIELUBeta}, Constant{layer + "eps", XIELUEps})
	}
	return all
}

// weights are views of a buffer in the layout of Tensors: of the parameters,
// or of their gradient.
type weights struct {
	embed, norm, head Buffer
	layers            []layerWeights
}

type layerWeights struct {
	attentionNorm, q, k, v, o, qNorm, kNorm Buffer
	mlpNorm, up, down                       Buffer
	alpha                                   Buffer // alpha_p, alpha_n
}

// weights cuts b, of Params elements, in the order of Tensors.
func (c Config) weights(b Buffer) weights {
	tensors := c.Tensors()
	next := func() Buffer {
		t := tensors[0]
		tensors = tensors[1:]
		return b.Slice(t.Offset, t.Offset+t.Len)
	}
	w := weights{embed: next(), layers: make([]layerWeights, c.NumHiddenLayers)}
	for i := range w.layers {
		l := &w.layers[i]
		for _, p := range []*Buffer{&l.attentionNorm, &l.q, &l.k, &l.v, &l.o, &l.qNorm, &l.kNorm, &l.mlpNorm, &l.up, &l.down} {
			*p = next()
		}
		l.alpha = b.Slice(tensors[0].Offset, tensors[1].Offset+1)
		tensors = tensors[2:]
	}
	w.norm, w.head = next(), next()
	return w
}
