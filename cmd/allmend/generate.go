package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/trainer/infer"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/spf13/cobra"
)

func generateCommand(c *console) *cobra.Command {
	var dir, prompt string
	var tokens int
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Continue a text with the model of a checkpoint, greedily",
		Long: `Continue a text with the model of a checkpoint, always with the likeliest token. Every file of the checkpoint
is checked against its manifest first; whose checkpoint it is, "allmend verify checkpoint" says.`,
		Example: "  allmend generate --checkpoint checkpoint --prompt \"Once upon a time\" --tokens 40",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" || tokens < 1 {
				return usagef("generate: --checkpoint is needed, and --tokens of at least 1")
			}
			m, words, err := readModel(dir)
			if err != nil {
				return err
			}
			defer m.Close()
			start := append([]int32{model.BeginOfText}, words.Encode(prompt)...)
			each := func(id int32) { fmt.Fprint(c.out, words.Decode([]int32{id})) }
			if c.json {
				each = nil
			} else {
				fmt.Fprint(c.out, prompt)
			}
			ids, err := infer.Greedy(cmd.Context(), m, start, tokens, each)
			if err != nil {
				return err
			}
			return c.result(struct {
				Prompt string  `json:"prompt"`
				Text   string  `json:"text"`
				Tokens []int32 `json:"tokens"`
			}{prompt, words.Decode(ids), append([]int32{}, ids...)}, "")
		},
	}
	cmd.Flags().StringVar(&dir, "checkpoint", "", "folder of the checkpoint")
	cmd.Flags().StringVar(&prompt, "prompt", "", "text to continue; empty for the beginning of a document")
	cmd.Flags().IntVar(&tokens, "tokens", 64, "tokens to add at most")
	return cmd
}

// readModel loads the model and the tokenizer of a checkpoint folder.
func readModel(dir string) (*model.Model, *tokenizer.Tokenizer, error) {
	state, _, manifest, err := checkpoint.Read(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint %s: %w", dir, err)
	}
	// Read has checked this file's size and digest.
	raw, err := os.ReadFile(filepath.Join(dir, checkpoint.TokenizerFile))
	if err != nil {
		return nil, nil, err
	}
	words, err := tokenizer.Parse(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint %s: %w", dir, err)
	}
	if words.VocabSize() != manifest.Model.VocabSize {
		return nil, nil, fmt.Errorf("checkpoint %s: its tokenizer has %d tokens, its model %d", dir, words.VocabSize(), manifest.Model.VocabSize)
	}
	m, err := model.New(state.Config, cpu.New(0))
	if err != nil {
		return nil, nil, err
	}
	return m, words, m.SetParams(state.Params)
}
