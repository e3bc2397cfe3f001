package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/allmend-network/allmend/shards/build"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/spf13/cobra"
)

// buildResult is what shards build says.
type buildResult struct {
	shardsResult
	Read     int            `json:"read"`     // documents met in the input
	Robots   map[string]int `json:"robots"`   // documents by verdict
	Masked   maskedResult   `json:"masked"`   // in the documents kept
	Problems []string       `json:"problems"` // what could not be read
	SaltFile string         `json:"salt_file"`
}

// maskedResult is how many pieces of personal data were masked.
type maskedResult struct {
	Email int `json:"email"`
	IP    int `json:"ip"`
	IBAN  int `json:"iban"`
}

func (r buildResult) text() string {
	text := r.shardsResult.text()
	text += fmt.Sprintf("\n\nread         %d documents: robots.txt allows %d, forbids %d, says nothing of %d", r.Read, r.Robots["allowed"], r.Robots["disallowed"], r.Robots["unknown"])
	text += fmt.Sprintf("\nmasked       %d e-mail addresses, %d IP addresses, %d IBANs", r.Masked.Email, r.Masked.IP, r.Masked.IBAN)
	text += fmt.Sprintf("\nproblems     %d", len(r.Problems))
	if r.SaltFile != "" {
		text += fmt.Sprintf("\nsalt         %s keys the hashes of dropped pages; keep it, and keep it to yourself", r.SaltFile)
	}
	return text + fmt.Sprintf("\n\nNot applied: %s. Next:\n  allmend shards inspect %s --decode 3\n  allmend run init run.yaml --shards %s --out myrun", orNone(r.NotApplied), r.Folder, r.Folder)
}

func shardsBuild(c *console) *cobra.Command {
	var opt build.Options
	var words, salt string
	cmd := &cobra.Command{
		Use:   "build INPUT...",
		Short: "Turn crawls and texts into shards, with a reason for every document dropped",
		Long: `Turn crawls and texts into shards, with a reason for every document dropped. An INPUT is a WARC (.warc, .gz), JSON
lines (.jsonl, .gz, .zst), plain text (.txt, .md, .gz, .zst), or a folder of them. Damaged input is reported, and what can be
read of it is. Licence and toxicity filters are not applied; the manifest says so.`,
		Example: "  allmend shards build crawl.warc.gz texts --out shards --name alpine",
		Args:    arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.Inputs = args
			if opt.Out == "" {
				return usagef("shards build: --out is needed")
			}
			if err := readBuildFiles(&opt, words, salt); err != nil {
				return err
			}
			report, err := c.build(cmd.Context(), opt)
			if err != nil {
				return err
			}
			r := buildResult{
				shardsResult: describeShards(opt.Out, report.Manifest, report.ManifestDigest),
				Read:         report.Read, Robots: report.Robots, Masked: maskedResult(report.PII), Problems: []string{}, SaltFile: report.SaltFile,
			}
			for _, p := range report.Problems {
				r.Problems = append(r.Problems, p.String())
				c.note("%s", p)
			}
			return c.result(r, r.text())
		},
	}
	cmd.Flags().StringVar(&opt.Out, "out", "", "folder to write; it must not exist or be empty")
	cmd.Flags().StringVar(&opt.Name, "name", "shards", "name of the shards, for people; printable ASCII")
	cmd.Flags().Uint64Var(&opt.Seed, "seed", 1, "of the order of documents")
	cmd.Flags().IntVar(&opt.VocabSize, "vocabulary", 2048, "tokens of the tokenizer that is trained on the documents kept")
	cmd.Flags().StringVar(&words, "tokenizer", "", "tokenizer.json to use instead of training one")
	cmd.Flags().StringVar(&salt, "salt-file", "", "file of 64 hexadecimal digits that key the hashes of dropped pages; without it a salt is drawn")
	return cmd
}

// readBuildFiles reads the files that the flags name.
func readBuildFiles(opt *build.Options, words, salt string) error {
	if words != "" {
		b, err := readSmall(words, maxTokenizer)
		if err != nil {
			return fmt.Errorf("tokenizer: %w", err)
		}
		if opt.Tokenizer, err = tokenizer.Parse(b); err != nil {
			return fmt.Errorf("%s: %w", words, err)
		}
	}
	if salt == "" {
		return nil
	}
	b, err := readSmall(salt, 1<<10)
	if err != nil {
		return fmt.Errorf("salt file: %w", err)
	}
	if opt.Salt, err = hex.DecodeString(strings.TrimSpace(string(b))); err != nil || len(opt.Salt) != 32 {
		return usagef("salt file %s: want 64 hexadecimal digits", salt)
	}
	return nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, err
}

// build runs the pipeline and shows how far each phase is.
func (c *console) build(ctx context.Context, opt build.Options) (build.Report, error) {
	phase := ""
	var shown *progress
	end := func() {
		if shown != nil {
			shown.end()
		}
	}
	opt.Progress = func(now string, documents int) {
		if now != phase {
			end()
			phase, shown = now, c.progress(now+" documents", -1, false)
		}
		shown.add(int64(documents) - shown.done)
	}
	report, err := build.Build(ctx, opt)
	end()
	return report, err
}
