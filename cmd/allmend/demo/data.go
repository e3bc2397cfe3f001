package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/allmend-network/allmend/shards/build/synthweb"
)

const (
	webSeed  = 1
	webPages = 20 // per site: enough that the default run sees no sample twice
)

// built is what `allmend shards build --json` says, as far as it is used here.
type built struct {
	Manifest   string   `json:"manifest"`
	Tokenizer  string   `json:"tokenizer"`
	Documents  int64    `json:"documents"`
	Tokens     int64    `json:"tokens"`
	Dropped    int64    `json:"dropped"`
	Languages  []any    `json:"languages"`
	Stages     []string `json:"stages"`
	NotApplied []string `json:"not_applied"`
	Read       int      `json:"read"`
	Problems   []string `json:"problems"`
}

// data makes the shards: of the given texts or, if there are none, of a
// generated web whose truth is known.
func (d *demo) data(ctx context.Context) error {
	inputs, truth, err := d.inputs()
	if err != nil {
		return err
	}
	if err := d.build(ctx, &d.built, d.path("shards"), append(inputs, "--vocabulary", fmt.Sprint(vocabulary))...); err != nil {
		return err
	}
	b := d.built
	d.tell("shards", b, fmt.Sprintf("  documents: %d read, %d kept, %d dropped, each with its reason; tokens: %s; languages: %d\n  applied: %s\n  not applied: %s",
		b.Read, b.Documents, b.Dropped, thousands(b.Tokens), len(b.Languages), strings.Join(b.Stages, ", "), strings.Join(b.NotApplied, ", ")))
	for _, p := range b.Problems {
		d.say("note: %s", p)
	}
	d.report.NotApplied = b.NotApplied
	if least := int64(globalBatch*sequenceLength + 1); b.Tokens < least {
		return fmt.Errorf("%s tokens are too few: a round takes %s; give the demo more texts with --input", thousands(b.Tokens), thousands(least))
	}
	if truth == nil {
		return nil
	}
	if err := d.judge(ctx, truth); err != nil {
		return err
	}
	var held built
	err = d.build(ctx, &held, d.path("heldback"), truth.HeldBack, "--tokenizer", filepath.Join(d.path("shards"), "tokenizer.json"))
	if err != nil {
		return err
	}
	d.say("held back: %d other pages of the same sites, %s tokens, that nobody trains on", held.Documents, thousands(held.Tokens))
	return nil
}

// inputs returns what to build shards of, and the truth about it where it is
// known.
func (d *demo) inputs() ([]string, *synthweb.Truth, error) {
	if len(d.Inputs) > 0 {
		d.say("the texts are yours: %s", strings.Join(d.Inputs, ", "))
		return d.Inputs, nil, nil
	}
	truth, err := synthweb.Generate(d.path("web"), webSeed, synthweb.Options{Pages: webPages})
	if err != nil {
		return nil, nil, err
	}
	languages := map[string]bool{}
	for _, s := range truth.Sites {
		languages[s.Language] = true
	}
	d.say("a made-up web of %d sites in %d languages, from seed %d, as WARC files in %s", len(truth.Sites), len(languages), webSeed, d.path("web"))
	return truth.Crawl, truth, nil
}

func (d *demo) build(ctx context.Context, into *built, out string, args ...string) error {
	args = append([]string{"shards", "build", "--json", "--name", "demo", "--out", out}, args...)
	answer, err := d.tool(ctx, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("allmend shards build: its answer cannot be read: %w", err)
	}
	return nil
}

// judge prints what was planted against what was caught. What was not caught
// ends the demo: nobody is to train on it.
func (d *demo) judge(ctx context.Context, truth *synthweb.Truth) error {
	v, err := judge(ctx, truth, d.path("shards"))
	if err != nil {
		return err
	}
	lines := []string{"  planted against caught"}
	planted, caught := 0, 0
	for _, t := range v.Tallies {
		lines = append(lines, fmt.Sprintf("    %-32s %4d of %d", t.What, t.Caught, t.Planted))
		planted, caught = planted+t.Planted, caught+t.Caught
	}
	d.tell("planted", v, strings.Join(lines, "\n"))
	d.report.Planted = v.Tallies
	if len(v.Problems) > 0 {
		return errors.New("the shards hold what they must not:\n" + strings.Join(v.Problems, "\n"))
	}
	d.check("planted", caught == planted, "%d of %d", caught, planted)
	return nil
}
