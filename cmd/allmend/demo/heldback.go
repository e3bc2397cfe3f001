package demo

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/trainer/infer"
	"github.com/allmend-network/allmend/trainer/model"
)

// maxWindows bounds how many held-back samples are scored.
const maxWindows = 200

// heldBack is samples that no member ever trains on.
type heldBack struct {
	windows [][]int32 // of T+1 tokens
	tokens  int       // labels that count
	unigram float64   // their entropy, in nats, under their own frequencies
}

// readHeldBack reads the samples of a shard folder at sequence length T.
func readHeldBack(ctx context.Context, dir string, T int) (heldBack, error) {
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		return heldBack{}, err
	}
	defer folder.Close()
	m, _ := folder.Manifest()
	reader, err := shards.OpenReader(m, folder, T)
	if err != nil {
		return heldBack{}, err
	}
	var h heldBack
	for i := range min(reader.Sequences(), maxWindows) {
		window, err := reader.Sequence(ctx, i)
		if err != nil {
			return heldBack{}, err
		}
		h.windows = append(h.windows, window)
	}
	h.count()
	return h, nil
}

// count computes the entropy of the labels that infer.Score counts.
func (h *heldBack) count() {
	of := map[int32]int{}
	for _, w := range h.windows {
		for i, label := range w[1:] {
			if w[i] != model.EndOfText { // what follows a document's end is no text
				of[label]++
				h.tokens++
			}
		}
	}
	for _, token := range slices.Sorted(maps.Keys(of)) {
		p := float64(of[token]) / float64(h.tokens)
		h.unigram -= p * math.Log(p)
	}
}

// score returns the mean loss of a checkpoint folder's model on h, in nats a
// token, and the size of its vocabulary.
func (h heldBack) score(dir string) (loss float64, vocabulary int, err error) {
	state, _, _, err := checkpoint.Read(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("checkpoint %s: %w", dir, err)
	}
	m, err := model.New(state.Config, cpu.New(0))
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	if err := m.SetParams(state.Params); err != nil {
		return 0, 0, err
	}
	loss, tokens, err := infer.Score(m, h.windows)
	if err == nil && tokens != h.tokens {
		err = fmt.Errorf("held-back pages: %d tokens were scored, %d counted", tokens, h.tokens)
	}
	return loss, state.Config.VocabSize, err
}
