package cpu

import (
	"math"
	"testing"

	"github.com/allmend-network/allmend/trainer/model"
)

// oneMillion is the demo's model: 1.1 M parameters.
var oneMillion = model.Config{
	VocabSize: 2048, HiddenSize: 128, IntermediateSize: 384, NumHiddenLayers: 4,
	NumAttentionHeads: 4, NumKeyValueHeads: 2, MaxPositionEmbeddings: 128,
	RopeTheta: "500000", RMSNormEps: "1e-5", InitStd: "0.02",
}

// sequences returns n packed samples of T tokens, three documents each.
func sequences(c model.Config, n, length int) []model.Sequence {
	var all []model.Sequence
	state := uint32(1)
	for range n {
		tokens := make([]int32, length+1)
		for t := range tokens {
			state = state*1664525 + 1013904223
			tokens[t] = int32(4 + state>>8%uint32(c.VocabSize-4))
			if t%(length/3+2) == length/3 {
				tokens[t] = model.EndOfText
			}
		}
		all = append(all, model.NewSequence(tokens, nil))
	}
	return all
}

// A few steps of plain gradient descent on the same sequences learn them: from
// the logarithm of the vocabulary downwards.
func TestStepsLearn(t *testing.T) {
	c := oneMillion
	c.VocabSize, c.NumHiddenLayers = 64, 2
	m, err := model.New(c, New(2))
	if err != nil {
		t.Fatal(err)
	}
	params, gradient := c.Init(1), make([]float32, c.Params())
	seqs := sequences(c, 2, 64)
	var losses []float64
	for range 12 {
		if err := m.SetParams(params); err != nil {
			t.Fatal(err)
		}
		m.Zero()
		loss, err := m.Accumulate(seqs)
		if err != nil {
			t.Fatal(err)
		}
		targets := float64(seqs[0].Targets() + seqs[1].Targets())
		losses = append(losses, float64(loss[0]+loss[1])/targets)
		if err := m.Gradient(gradient); err != nil {
			t.Fatal(err)
		}
		for i, g := range gradient {
			params[i] -= 0.5 * g / float32(targets)
		}
	}
	if first := losses[0]; math.Abs(first-math.Log(64)) > 0.1 {
		t.Errorf("the first loss is %.3f, want about ln 64 = %.3f", first, math.Log(64))
	}
	if last := losses[len(losses)-1]; last > losses[0]-1 {
		t.Errorf("losses %.3f do not fall by 1", losses)
	}
	t.Logf("losses %.3f", losses)
}

// BenchmarkStep measures forward and backward of the demo's model on one
// worker.
func BenchmarkStep(b *testing.B) {
	m, err := model.New(oneMillion, New(1))
	if err != nil {
		b.Fatal(err)
	}
	if err := m.SetParams(oneMillion.Init(1)); err != nil {
		b.Fatal(err)
	}
	seqs := sequences(oneMillion, 16, 128)
	for b.Loop() {
		if _, err := m.Accumulate(seqs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*16*128/b.Elapsed().Seconds(), "tokens/s")
}
