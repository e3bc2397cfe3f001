package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/build/privacy"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/verify/digest"
)

// Options say what to build shards of, and where.
type Options struct {
	Inputs []string // files and folders, as [Open] takes them
	Out    string   // shard folder to make; must not exist or be empty
	Name   string   // of the shards; 1 to 64 printable ASCII characters
	Seed   uint64   // of the order of documents

	// Tokenizer turns text into tokens; nil: one of VocabSize tokens is trained on the documents kept.
	Tokenizer *tokenizer.Tokenizer
	VocabSize int

	// Salt keys the hashes of dropped pages' paths. nil: 32 random bytes, kept in Out + ".salt" (0600), which stays with the
	// builder. The same inputs give the same bytes only with the same salt.
	Salt []byte

	// Progress, if not nil, is told how many documents a phase ("read", "train", "pack") has done.
	Progress func(phase string, documents int)
	// Decided, if not nil, is told the fate of every document, in order; drop is nil for one that is kept.
	Decided func(doc *Document, drop *Drop)
}

// Report is what a build did.
type Report struct {
	Manifest       shards.Manifest
	ManifestDigest digest.Sum
	Read           int            // documents met in the input
	Robots         map[string]int // documents by verdict: allowed, disallowed, unknown
	PII            privacy.Counts // masked in the documents kept
	Problems       []Problem      // what could not be read, or was left out as a whole
	Tokenizer      *tokenizer.Tokenizer
	SaltFile       string // "" if Options.Salt was given
}

// NotApplied is the stages that a compliant pipeline has and this one lacks.
func NotApplied() []string { return []string{"licence", "toxicity"} }

// Build runs the whole pipeline and writes a shard folder, whose files package shards describes. It appears complete or not
// at all. Damaged input is reported, not fatal, unless no document is left.
//
// Documents are packed in ascending order of SHA-256(Seed as 8 bytes, little endian ‖ SHA-256 of the masked text), so that
// neighbours come from different sites; rows of dropped documents keep the order of the input. The same inputs, seed, salt
// and tokenizer give the same bytes, whatever the number of processors.
//
// The input is read twice, for robots.txt records and for documents; kept documents wait in one temporary file beside Out
// until the tokenizer is known. In memory are one batch of documents and about 200 bytes for each one kept.
func Build(ctx context.Context, opt Options) (Report, error) {
	b, err := newBuilder(opt)
	if err != nil {
		return Report{}, err
	}
	err = b.run(ctx)
	if err = errors.Join(err, b.clean()); err != nil {
		return Report{}, fmt.Errorf("build %s: %w", opt.Out, err)
	}
	return b.report, nil
}

// builder is one run of the pipeline.
type builder struct {
	Options
	src    *Source
	temp   string // becomes Out
	spool  *spool // documents kept, between reading and packing
	counts counts
	report Report
}

func newBuilder(opt Options) (*builder, error) {
	entries, err := os.ReadDir(opt.Out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("build: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("build: %s is not empty; choose another folder for the shards, or remove it", opt.Out)
	}
	if err := opt.check(); err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	src, err := Open(opt.Inputs)
	if err != nil {
		return nil, err
	}
	b := &builder{Options: opt, src: src, report: Report{Robots: make(map[string]int)}}
	if b.Progress == nil {
		b.Progress = func(string, int) {}
	}
	if b.Decided == nil {
		b.Decided = func(*Document, *Drop) {}
	}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("build %s: %w", opt.Out, err), b.clean())
	}
	return b, nil
}

// check finds before the long work what would fail after it.
func (opt Options) check() error {
	if err := shards.ValidateName(opt.Name); err != nil {
		return err
	}
	if opt.Tokenizer != nil {
		_, _, err := ends(opt.Tokenizer)
		return err
	}
	_, err := tokenizer.Train(func(func(string) bool) {}, tokenizer.TrainOptions{VocabSize: opt.VocabSize})
	return err
}

// prepare makes the temporary places beside the output, so that they are on the same disk.
func (b *builder) prepare() error {
	parent := filepath.Dir(filepath.Clean(b.Out))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	var err error
	if b.temp, err = os.MkdirTemp(parent, ".new-"+filepath.Base(b.Out)+"-*"); err != nil {
		return err
	}
	if b.spool, err = newSpool(parent); err != nil {
		return err
	}
	return b.prepareSalt()
}

func (b *builder) clean() error {
	var err error
	if b.temp != "" {
		err = os.RemoveAll(b.temp)
	}
	if b.spool != nil {
		err = errors.Join(err, b.spool.close())
	}
	return err
}

func (b *builder) run(ctx context.Context) error {
	if err := b.read(ctx); err != nil {
		return err
	}
	b.report.Problems = b.src.Problems()
	if len(b.spool.entries) == 0 {
		return fmt.Errorf("no document is left: %d were read, all were dropped, %d problems with the input%s", b.report.Read, len(b.report.Problems), firstOf(b.report.Problems))
	}
	if err := b.train(); err != nil {
		return err
	}
	if err := b.pack(ctx); err != nil {
		return err
	}
	if err := b.writeManifest(); err != nil {
		return err
	}
	if err := b.publishSalt(); err != nil {
		return err
	}
	return shards.Publish(b.temp, filepath.Clean(b.Out))
}

func firstOf(problems []Problem) string {
	if len(problems) == 0 {
		return ""
	}
	return ", the first: " + problems[0].String()
}

// train makes the tokenizer, if none was given.
func (b *builder) train() error {
	b.report.Tokenizer = b.Tokenizer
	if b.Tokenizer != nil {
		return nil
	}
	var failed error
	done := 0
	texts := func(yield func(string) bool) {
		for i := range b.spool.entries {
			d, err := b.spool.document(i)
			if err != nil {
				failed = err
				return
			}
			if !yield(d.Text) {
				return
			}
			done++
			b.Progress("train", done)
		}
	}
	t, err := tokenizer.Train(texts, tokenizer.TrainOptions{VocabSize: b.VocabSize})
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	b.report.Tokenizer = t
	return nil
}
