// Package infer is a trained model put to use: greedy generation and scoring,
// on token ids.
//
// It knows no text; package shards/tokenizer turns ids into it.
package infer

import (
	"context"
	"fmt"

	"github.com/allmend-network/allmend/trainer/model"
)

// Greedy continues a prompt, always with the likeliest token and of equals the
// smallest, until EndOfText, the model's last position, or limit tokens. It
// returns the new tokens without EndOfText and calls each, if not nil, with
// every one of them.
func Greedy(ctx context.Context, m *model.Model, prompt []int32, limit int, each func(int32)) ([]int32, error) {
	room := m.Config().MaxPositionEmbeddings
	if len(prompt) == 0 || len(prompt) > room {
		return nil, fmt.Errorf("a prompt of %d tokens; the model takes 1 to %d", len(prompt), room)
	}
	tokens := append([]int32(nil), prompt...)
	for len(tokens) < room && len(tokens)-len(prompt) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		logits, err := m.Logits(tokens)
		if err != nil {
			return nil, err
		}
		next := int32(0)
		for id, x := range logits {
			if x > logits[next] {
				next = int32(id)
			}
		}
		if next == model.EndOfText {
			break
		}
		tokens = append(tokens, next)
		if each != nil {
			each(next)
		}
	}
	return tokens[len(prompt):], nil
}

// Score returns the mean loss, in nats a token, of windows of T+1 consecutive
// tokens, and over how many tokens. Only the token after a document's end is
// left out.
func Score(m *model.Model, windows [][]int32) (mean float64, tokens int, err error) {
	sequences := make([]model.Sequence, len(windows))
	for i, w := range windows {
		sequences[i] = model.NewSequence(w, nil)
		tokens += sequences[i].Targets()
	}
	losses, err := m.Loss(sequences)
	if err != nil || tokens == 0 {
		return 0, 0, err
	}
	for _, loss := range losses {
		mean += float64(loss)
	}
	return mean / float64(tokens), tokens, nil
}
