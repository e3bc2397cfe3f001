// Package model is the Apertus transformer: its configuration, the layout of
// its parameters, its forward and its backward pass.
//
// It computes on a Device, which it declares here and which others implement.
// A pre-norm decoder: RMSNorm, grouped-query attention with norms on query and
// key before rotary position embedding, causal within a document; RMSNorm,
// an ungated two-matrix feed-forward with xIELU; an untied head. No biases.
//
// The gradient of a set of sequences has the same bits however the set is cut
// into calls and batches, as long as the order of sequences stays: all sums
// over tokens either continue one chain (matrices) or end with the sequence
// (everything else).
package model

import (
	"fmt"

	"github.com/allmend-network/allmend/trainer/exact"
)

// Model is a transformer on a Device, with its parameters and the sum of the
// gradients it has seen. It serves one goroutine at a time.
type Model struct {
	config  Config
	dev     Device
	params  Buffer
	grads   Buffer
	rope    Buffer
	weight  weights // views of params
	grad    weights // views of grads
	tensors []Tensor
	act     activations
}

// New returns a Model of zero parameters and zero gradient. cfg is checked.
// The device stays the caller's to close. Models may share one, but take turns.
func New(cfg Config, dev Device) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Model{config: cfg, dev: dev, tensors: cfg.Tensors()}
	var err error
	for _, b := range []struct {
		dst *Buffer
		n   int
	}{
		{&m.params, cfg.Params()},
		{&m.grads, cfg.Params()},
		{&m.rope, cfg.MaxPositionEmbeddings * cfg.HeadDim()},
	} {
		if *b.dst, err = dev.Alloc(b.n); err != nil {
			m.Close()
			return nil, fmt.Errorf("model: memory for %d parameters: %w", cfg.Params(), err)
		}
	}
	if err := dev.Upload(m.rope, cfg.ropeTable()); err != nil {
		m.Close()
		return nil, fmt.Errorf("model: upload rotary table: %w", err)
	}
	m.weight, m.grad = cfg.weights(m.params), cfg.weights(m.grads)
	return m, nil
}

// Close gives the device back the model's memory. The model is not used
// afterwards.
func (m *Model) Close() {
	for _, b := range []Buffer{m.params, m.grads, m.rope, m.act.memory} {
		if b != nil {
			m.dev.Free(b)
		}
	}
}

// Config returns the shape of the model.
func (m *Model) Config() Config { return m.config }

// SetParams copies p, in the layout of Config.Tensors, into the model. It
// returns a *NonFiniteError, and changes nothing, if p holds an infinity or a
// NaN.
func (m *Model) SetParams(p []float32) error {
	m.checkLen("parameters", len(p))
	for _, t := range m.tensors {
		if !exact.Finite(p[t.Offset : t.Offset+t.Len]) {
			return &NonFiniteError{What: t.Name}
		}
	}
	if err := m.dev.Upload(m.params, p); err != nil {
		return fmt.Errorf("model: upload parameters: %w", err)
	}
	return nil
}

// Zero clears the accumulated gradient.
func (m *Model) Zero() { m.dev.Zero(m.grads) }

// Gradient copies the accumulated gradient, in the layout of Config.Tensors,
// to dst.
func (m *Model) Gradient(dst []float32) error {
	m.checkLen("gradient", len(dst))
	if err := m.dev.Download(dst, m.grads); err != nil {
		return fmt.Errorf("model: download gradient: %w", err)
	}
	return nil
}

// SetGradient replaces the accumulated gradient by src, so that Accumulate
// continues where another process stopped.
func (m *Model) SetGradient(src []float32) error {
	m.checkLen("gradient", len(src))
	if err := m.dev.Upload(m.grads, src); err != nil {
		return fmt.Errorf("model: upload gradient: %w", err)
	}
	return nil
}

func (m *Model) checkLen(what string, n int) {
	if n != m.config.Params() {
		panic(fmt.Sprintf("model: %s have %d elements, want %d", what, n, m.config.Params()))
	}
}

// NonFiniteError reports an infinity or a NaN where there must be none. The
// unit of work that produced it is invalid.
type NonFiniteError struct {
	What string // name of a tensor, or which sequence's loss
}

func (e *NonFiniteError) Error() string {
	return "model: " + e.What + " is not finite"
}

// Accumulate runs seqs forward and backward and adds the gradient of the sum
// of their token losses, unscaled, to the accumulated gradient. It returns
// the loss of each sequence: the sum, by rule R4, of its tokens' losses where
// Mask is 1.
//
// The gradient's bits depend on the order of sequences only, not on how they
// are cut into calls. After a *NonFiniteError the accumulated gradient is
// invalid: SetGradient or Zero restores it.
func (m *Model) Accumulate(seqs []Sequence) ([]float32, error) {
	loss, err := m.run(seqs, true)
	if err != nil {
		return nil, err
	}
	if m.dev.Finite(m.grads) {
		return loss, nil
	}
	// Finite is false, too, where the machine failed; only a copy says so.
	if err := m.dev.Download(make([]float32, 1), m.grads.Slice(0, 1)); err != nil {
		return nil, fmt.Errorf("model: gradient: %w", err)
	}
	for _, t := range m.tensors {
		if !m.dev.Finite(m.grads.Slice(t.Offset, t.Offset+t.Len)) {
			return nil, &NonFiniteError{What: "gradient of " + t.Name}
		}
	}
	return loss, nil
}

// Loss returns the loss of each sequence as Accumulate does, without a
// gradient.
func (m *Model) Loss(seqs []Sequence) ([]float32, error) { return m.run(seqs, false) }

// maxBatchTokens bounds how many tokens go through the model at a time, unless
// a single sequence is longer. It shows in speed and memory, in no bit.
const maxBatchTokens = 512

// run passes seqs through the model in batches of whole sequences.
func (m *Model) run(seqs []Sequence, training bool) ([]float32, error) {
	losses := make([]float32, 0, len(seqs))
	for len(seqs) > 0 {
		n, tokens := 1, len(seqs[0].Input)
		for n < len(seqs) && tokens+len(seqs[n].Input) <= maxBatchTokens {
			tokens += len(seqs[n].Input)
			n++
		}
		b, err := NewBatch(m.config, seqs[:n])
		if err != nil {
			return nil, err
		}
		loss, err := m.batch(b, training)
		if err != nil {
			return nil, err
		}
		for s := range n {
			lo, hi := b.Span(s)
			sum := exact.Sum(loss[lo:hi])
			if !exact.Finite([]float32{sum}) {
				return nil, &NonFiniteError{What: fmt.Sprintf("loss of sequence %d", len(losses))}
			}
			losses = append(losses, sum)
		}
		seqs = seqs[n:]
	}
	return losses, nil
}

// batch returns the masked loss of each token of b.
func (m *Model) batch(b *Batch, training bool) ([]float32, error) {
	if err := m.act.prepare(m.config, m.dev, b.Tokens(), training); err != nil {
		return nil, err
	}
	m.forward(b)
	m.head(b, training)
	if training {
		m.backward(b)
	}
	loss := make([]float32, b.Tokens())
	if err := m.dev.Download(loss, m.act.loss); err != nil {
		return nil, fmt.Errorf("model: download loss: %w", err)
	}
	return loss, nil
}

// Logits returns the vocab_size scores of what follows tokens. A new document
// begins after each EndOfText.
func (m *Model) Logits(tokens []int32) ([]float32, error) {
	b, err := NewBatch(m.config, []Sequence{{
		Input:    tokens,
		Label:    tokens, // not used
		Position: positions(tokens),
		Mask:     make([]byte, len(tokens)),
	}})
	if err != nil {
		return nil, err
	}
	if err := m.act.prepare(m.config, m.dev, b.Tokens(), false); err != nil {
		return nil, err
	}
	m.forward(b)
	c, n := m.config, b.Tokens()
	row := m.act.logits.Slice(0, c.VocabSize)
	last := m.act.n.Slice((n-1)*c.HiddenSize, n*c.HiddenSize)
	m.dev.MatMul(row, last, false, m.weight.head, true, 1, c.VocabSize, c.HiddenSize, false)
	logits := make([]float32, c.VocabSize)
	if err := m.dev.Download(logits, row); err != nil {
		return nil, fmt.Errorf("model: download logits: %w", err)
	}
	if !exact.Finite(logits) {
		return nil, &NonFiniteError{What: "logits"}
	}
	return logits, nil
}
