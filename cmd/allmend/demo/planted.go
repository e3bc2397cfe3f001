package demo

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/build"
	"github.com/allmend-network/allmend/shards/build/synthweb"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/trainer/model"
)

// tally is one line of what was planted in the generated web against what the
// shards show to have become of it.
type tally struct {
	What    string `json:"what"`
	Planted int    `json:"planted"`
	Caught  int    `json:"caught"`
}

// verdict is the generated web's truth held against a shard folder.
type verdict struct {
	Tallies  []tally  `json:"tallies"`
	Problems []string `json:"problems"` // what must not be; empty if all was caught
}

// contents is what a shard folder holds, read from its files and not from what
// its builder said.
type contents struct {
	decoded   []string // texts of the token stream
	documents []shards.Document
	dropped   []shards.Dropped
	manifest  shards.Manifest
}

// judge reads the shard folder dir and holds it against the truth: an opt-out
// page or a planted address in it is a problem, wherever it stands.
func judge(ctx context.Context, truth *synthweb.Truth, dir string) (verdict, error) {
	c, err := readContents(ctx, dir)
	if err != nil {
		return verdict{}, fmt.Errorf("reading %s back: %w", dir, err)
	}
	var v verdict
	v.match(c)
	v.pages(truth, c)
	v.addresses(truth, c)
	return v, nil
}

func (v *verdict) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// match holds the token stream against the documents table: what is said about
// the one is then said about the other.
func (v *verdict) match(c contents) {
	if len(c.decoded) != len(c.documents) {
		v.problem("the token stream holds %d documents, the table of documents %d", len(c.decoded), len(c.documents))
		return
	}
	for i, d := range c.documents {
		if c.decoded[i] != d.Text {
			v.problem("the tokens of %s are not its text", d.URL)
		}
	}
}

// pages counts what became of every page.
func (v *verdict) pages(truth *synthweb.Truth, c contents) {
	kept := map[string]bool{}
	for _, d := range c.documents {
		kept[d.URL] = true
	}
	type fate struct{ host, stage, rule string }
	dropped := map[fate]int{}
	for _, d := range c.dropped {
		dropped[fate{d.Host, d.Stage, d.Rule}]++
	}
	byStage := map[string]*tally{
		build.StageRobots: {What: "pages refused by robots.txt"},
		build.StageOptOut: {What: "pages that opt out themselves"},
		build.StageDedup:  {What: "copies of other pages"},
		build.StageRead:   {What: "pages that are no texts"},
	}
	keep := tally{What: "pages to keep"}
	for _, p := range truth.Pages {
		if p.Outcome == synthweb.Kept {
			keep.Planted++
			if kept[p.URL] {
				keep.Caught++
			} else {
				v.problem("%s should have been kept", p.URL)
			}
			continue
		}
		t := byStage[p.Stage]
		if t == nil {
			t = &tally{What: "pages dropped by " + p.Stage}
			byStage[p.Stage] = t
		}
		t.Planted++
		f := fate{host(p.URL), p.Stage, p.Rule}
		switch {
		case kept[p.URL]:
			v.problem("%s is in the shards, against %s, %s", p.URL, p.Stage, p.Rule)
		case dropped[f] == 0:
			v.problem("no row says that %s was dropped by %s, %s", p.URL, p.Stage, p.Rule)
		default:
			dropped[f]--
			t.Caught++
		}
	}
	for _, stage := range []string{build.StageRobots, build.StageOptOut, build.StageDedup, build.StageRead} {
		v.Tallies = append(v.Tallies, *byStage[stage])
		delete(byStage, stage)
	}
	for _, t := range byStage {
		v.Tallies = append(v.Tallies, *t)
	}
	v.Tallies = append(v.Tallies, keep)
}

// addresses looks for planted personal data in the tokens and in the table,
// and for the masks that must stand in their place.
func (v *verdict) addresses(truth *synthweb.Truth, c contents) {
	readable := map[synthweb.Planted]string{}
	look := func(text, where string) {
		for _, p := range truth.Survivors(text) {
			readable[p] = where
		}
	}
	masks := map[string]int{}
	for i, d := range c.documents {
		look(d.Text, d.URL)
		masks["email"] += int(d.PIIEmail)
		masks["ip"] += int(d.PIIIP)
		masks["iban"] += int(d.PIIIBAN)
		if i < len(c.decoded) {
			look(c.decoded[i], "the tokens of "+d.URL)
		}
	}
	for p, where := range readable {
		v.problem("the planted %s %s can be read in %s", p.Kind, p.Value, where)
	}
	slices.Sort(v.Problems)
	for _, kind := range []struct{ name, what string }{{"email", "e-mail addresses"}, {"ip", "IP addresses"}, {"iban", "account numbers (IBAN)"}} {
		t := tally{What: kind.what}
		for _, p := range truth.Planted {
			if p.Kind == kind.name {
				t.Planted++
				if _, survived := readable[p]; !survived {
					t.Caught++
				}
			}
		}
		if masks[kind.name] < t.Planted {
			v.problem("%d %s were planted, %d masked", t.Planted, kind.what, masks[kind.name])
		}
		v.Tallies = append(v.Tallies, t)
	}
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

func readContents(ctx context.Context, dir string) (contents, error) {
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		return contents{}, err
	}
	defer folder.Close()
	var c contents
	c.manifest, _ = folder.Manifest()
	if c.decoded, err = decode(ctx, folder); err != nil {
		return c, err
	}
	for _, f := range c.manifest.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		switch f.Kind {
		case shards.Documents:
			c.documents, err = appendRows(c.documents, path)
		case shards.Dropouts:
			c.dropped, err = appendRows(c.dropped, path)
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return c, nil
}

func appendRows[T shards.Row](rows []T, path string) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return rows, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return rows, err
	}
	for row, err := range shards.Rows[T](f, info.Size()) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// decode returns the texts of a folder's token stream.
func decode(ctx context.Context, folder *shards.Folder) ([]string, error) {
	words, err := readTokenizer(ctx, folder)
	if err != nil {
		return nil, err
	}
	m, _ := folder.Manifest()
	var texts []string
	var document []int32
	for _, f := range m.Files {
		if f.Kind != shards.Tokens {
			continue
		}
		for _, name := range f.Blocks {
			block, err := folder.Get(ctx, name)
			if err != nil {
				return nil, err
			}
			// A block is a whole number of tokens.
			for ; len(block) >= shards.TokenSize; block = block[shards.TokenSize:] {
				switch id := int32(binary.LittleEndian.Uint32(block)); id {
				case model.BeginOfText:
				case model.EndOfText:
					texts = append(texts, words.Decode(document))
					document = document[:0]
				default:
					document = append(document, id)
				}
			}
		}
	}
	return texts, nil
}

func readTokenizer(ctx context.Context, folder *shards.Folder) (*tokenizer.Tokenizer, error) {
	m, _ := folder.Manifest()
	var raw []byte
	for _, name := range m.Blocks(shards.Tokenizer) {
		block, err := folder.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		raw = append(raw, block...)
	}
	return tokenizer.Parse(raw)
}
