package cpu

import (
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
