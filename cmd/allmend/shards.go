package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/spf13/cobra"
)

func shardsCommand(c *console) *cobra.Command {
	return group(c, "shards", "Turn texts into shards that a run trains on, look at them, pass them on",
		shardsBuild(c), shardsInspect(c), shardsPublish(c), shardsFetch(c), tokenizerCommand(c))
}

// shardsResult is what the commands say about a shard folder.
type shardsResult struct {
	Manifest   digest.Sum        `json:"manifest"`
	Folder     string            `json:"folder"`
	Name       string            `json:"name"`
	Tokenizer  digest.Sum        `json:"tokenizer"`
	Documents  int64             `json:"documents"`
	Tokens     int64             `json:"tokens"`
	Dropped    int64             `json:"dropped"`
	Languages  []shards.Language `json:"languages"`
	Drops      []shards.Drop     `json:"drops"`
	Stages     []string          `json:"stages"`
	NotApplied []string          `json:"not_applied"`
	Texts      []string          `json:"texts,omitempty"` // decoded, if asked for
}

func describeShards(folder string, m shards.Manifest, sum digest.Sum) shardsResult {
	r := shardsResult{
		Manifest: sum, Folder: folder, Name: m.Name, Tokenizer: m.Tokenizer,
		Documents: m.Documents, Tokens: m.Tokens, Dropped: m.Dropped,
		Languages: append([]shards.Language{}, m.Languages...), Drops: append([]shards.Drop{}, m.Drops...),
		Stages: []string{}, NotApplied: append([]string{}, m.NotApplied...),
	}
	for _, s := range m.Stages {
		r.Stages = append(r.Stages, s.Name)
	}
	return r
}

func (r shardsResult) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "manifest     %s\nname         %s\ntokenizer    %s\nkept         %d documents, %d tokens\ndropped      %d documents\napplied      %s\nnot applied  %s",
		r.Manifest, r.Name, r.Tokenizer, r.Documents, r.Tokens, r.Dropped, orNone(r.Stages), orNone(r.NotApplied))
	if len(r.Languages) > 0 {
		b.WriteString("\n\nlanguage     documents       tokens")
		most := slices.Clone(r.Languages)
		slices.SortStableFunc(most, func(a, b shards.Language) int { return cmp.Compare(b.Tokens, a.Tokens) })
		for _, l := range most {
			fmt.Fprintf(&b, "\n%-12s %9d %12d", l.Language, l.Documents, l.Tokens)
		}
	}
	if len(r.Drops) > 0 {
		b.WriteString("\n\ndropped by   rule                   documents")
		for _, d := range r.Drops {
			fmt.Fprintf(&b, "\n%-12s %-22s %9d", d.Stage, d.Rule, d.Documents)
		}
	}
	for i, text := range r.Texts {
		fmt.Fprintf(&b, "\n\n--- document %d\n%s", i+1, text)
	}
	return b.String()
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func shardsInspect(c *console) *cobra.Command {
	var decode int
	cmd := &cobra.Command{
		Use:   "inspect FOLDER",
		Short: "Print what is in a shard folder: languages, what was applied, what was dropped",
		Long: `Print what is in a shard folder, as its manifest says: languages, the stages that were applied and those that were not,
and how many documents each rule dropped. Whether the files are those of the manifest, "allmend verify shards" says.`,
		Example: "  allmend shards inspect shards --decode 3",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := shards.OpenFolder(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			m, sum := folder.Manifest()
			r := describeShards(args[0], m, sum)
			if decode > 0 {
				if r.Texts, err = decodeTexts(cmd.Context(), folder, decode); err != nil {
					return err
				}
			}
			return c.result(r, r.text())
		},
	}
	cmd.Flags().IntVar(&decode, "decode", 0, "also decode this many documents from the beginning of the token stream")
	return cmd
}

// decodeTexts returns the texts of the first n documents of the token stream.
func decodeTexts(ctx context.Context, folder *shards.Folder, n int) ([]string, error) {
	_, words, err := readTokenizer(ctx, folder)
	if err != nil {
		return nil, err
	}
	texts := []string{}
	var document []int32
	err = eachBlock(ctx, folder, shards.Tokens, func(block []byte) bool {
		// A block is a whole number of tokens: only a file's last is shorter.
		for ; len(block) >= shards.TokenSize && len(texts) < n; block = block[shards.TokenSize:] {
			id := int32(binary.LittleEndian.Uint32(block))
			switch {
			case id == model.EndOfText:
				texts = append(texts, decodeText(words, document))
				document = document[:0]
			case len(document) < maxDecoded:
				document = append(document, id)
			}
		}
		return len(texts) < n
	})
	return texts, err
}

// maxDecoded bounds the tokens of one document that are shown.
const maxDecoded = 1 << 20

// eachBlock reads the blocks of all files of a kind, in the order of the
// stream, until use says no.
func eachBlock(ctx context.Context, folder *shards.Folder, kind shards.Kind, use func(block []byte) bool) error {
	m, _ := folder.Manifest()
	for _, f := range m.Files {
		if f.Kind != kind {
			continue
		}
		for _, b := range f.Blocks {
			block, err := folder.Get(ctx, b)
			if err != nil {
				return err
			}
			if !use(block) {
				return nil
			}
		}
	}
	return nil
}

func decodeText(words *tokenizer.Tokenizer, document []int32) string {
	if len(document) > 0 && document[0] == model.BeginOfText {
		document = document[1:]
	}
	return strings.ToValidUTF8(words.Decode(document), "\uFFFD")
}
