package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/spf13/cobra"
)

func tokenizerCommand(c *console) *cobra.Command {
	return group(c, "tokenizer", "Train a tokenizer on the documents of shards, or look at one",
		tokenizerTrain(c), tokenizerInspect(c))
}

// tokenizerResult is what the commands say about a tokenizer.
type tokenizerResult struct {
	Tokenizer digest.Sum `json:"tokenizer"`
	File      string     `json:"file"`
	Tokens    int        `json:"tokens"`
	Encoded   []int32    `json:"encoded,omitempty"`
	Pieces    []string   `json:"pieces,omitempty"`
}

func (r tokenizerResult) text() string {
	text := fmt.Sprintf("tokenizer  %s\nfile       %s\ntokens     %d", r.Tokenizer, r.File, r.Tokens)
	for i, id := range r.Encoded {
		text += fmt.Sprintf("\n%9d  %q", id, r.Pieces[i])
	}
	return text
}

func tokenizerTrain(c *console) *cobra.Command {
	var out string
	var vocabulary int
	cmd := &cobra.Command{
		Use:   "train FOLDER...",
		Short: "Train a byte-level BPE tokenizer on the documents that shard folders keep",
		Long: `Train a byte-level BPE tokenizer on the documents that shard folders keep. What the pipeline dropped or masked is
not learnt from. "shards build --tokenizer" then tokenizes with it.`,
		Example: "  allmend shards tokenizer train shards --vocabulary 4096 --out tokenizer.json",
		Args:    arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("shards tokenizer train: --out is needed")
			}
			if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s exists already: choose another name, or move it away", out)
			}
			// Train stops no earlier than its texts end, so an error waits.
			var failed error
			words, err := tokenizer.Train(texts(cmd.Context(), args, &failed), tokenizer.TrainOptions{VocabSize: vocabulary})
			if err := errors.Join(failed, err); err != nil {
				return err
			}
			if err := createFile(out, words.Marshal()); err != nil {
				return err
			}
			r := tokenizerResult{Tokenizer: words.Digest(), File: out, Tokens: words.VocabSize()}
			return c.result(r, r.text())
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write; it must not exist")
	cmd.Flags().IntVar(&vocabulary, "vocabulary", 2048, "tokens in all; fewer come out of a small text")
	return cmd
}

func tokenizerInspect(c *console) *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:     "inspect FILE",
		Short:   "Print the digest and the size of a tokenizer.json, and how it cuts a text",
		Example: "  allmend shards tokenizer inspect shards/tokenizer.json --encode \"Grüezi mitenand\"",
		Args:    arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := readSmall(args[0], maxTokenizer)
			if err != nil {
				return err
			}
			words, err := tokenizer.Parse(b)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			r := tokenizerResult{Tokenizer: digest.Of(b), File: args[0], Tokens: words.VocabSize(), Encoded: words.Encode(text)}
			for _, id := range r.Encoded {
				r.Pieces = append(r.Pieces, strings.ToValidUTF8(words.Decode([]int32{id}), "\uFFFD"))
			}
			return c.result(r, r.text())
		},
	}
	cmd.Flags().StringVar(&text, "encode", "", "also print the tokens of this text")
	return cmd
}

// texts yields the documents that shard folders keep. It ends at an error,
// which it leaves in failed.
func texts(ctx context.Context, folders []string, failed *error) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, folder := range folders {
			if err := eachText(ctx, folder, yield); err != nil {
				*failed = err
				return
			}
		}
	}
}

func eachText(ctx context.Context, dir string, use func(string) bool) error {
	m, _, err := shards.ReadManifest(dir)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		if f.Kind != shards.Documents {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := eachRow(ctx, path, f, use); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// eachRow reads the texts of one documents file, whose bytes must be those of
// the manifest.
func eachRow(ctx context.Context, path string, want shards.File, use func(string) bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := digest.Read(f, want.Bytes)
	if err != nil {
		return err
	}
	if got.SHA256 != want.SHA256 {
		return fmt.Errorf("sha256 %s, the manifest says %s", got.SHA256, want.SHA256)
	}
	for row, err := range shards.Rows[shards.Document](f, want.Bytes) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if !use(row.Text) {
			return nil
		}
	}
	return nil
}
