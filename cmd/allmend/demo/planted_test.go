package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards/build"
	"github.com/allmend-network/allmend/shards/build/synthweb"
)

var salt = bytes.Repeat([]byte{7}, 32)

// generated is a small web and the shards of it.
func generated(t *testing.T) (*synthweb.Truth, string) {
	t.Helper()
	dir := t.TempDir()
	truth, err := synthweb.Generate(dir, 3, synthweb.Options{Pages: 3})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "shards")
	if _, err := build.Build(t.Context(), build.Options{Inputs: truth.Crawl, Out: out, Name: "test", VocabSize: 400, Salt: salt}); err != nil {
		t.Fatal(err)
	}
	return truth, out
}

func TestPlantedAgainstCaught(t *testing.T) {
	truth, dir := generated(t)
	v, err := judge(t.Context(), truth, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Problems) > 0 {
		t.Errorf("problems in sound shards:\n%s", strings.Join(v.Problems, "\n"))
	}
	for _, tally := range v.Tallies {
		if tally.Planted == 0 || tally.Caught != tally.Planted {
			t.Errorf("%s: %d of %d", tally.What, tally.Caught, tally.Planted)
		}
	}
}

// TestJudgeSeesWhatABuilderLetsThrough moves the truth rather than the shards:
// something that stands in them is declared to be what must not.
func TestJudgeSeesWhatABuilderLetsThrough(t *testing.T) {
	truth, dir := generated(t)
	t.Run("an unmasked address", func(t *testing.T) {
		twin := *truth
		c, err := readContents(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		// A word of a page that was kept is declared to be personal data.
		word := strings.Fields(c.documents[0].Text)[0]
		twin.Planted = append([]synthweb.Planted{{Kind: "email", Value: word, URL: c.documents[0].URL}}, truth.Planted...)
		wantProblem(t, &twin, dir, "the planted email "+word+" can be read in")
	})
	t.Run("an opt-out page", func(t *testing.T) {
		twin := *truth
		twin.Pages = append([]synthweb.Page(nil), truth.Pages...)
		for i, p := range twin.Pages {
			if p.Outcome == synthweb.Kept {
				p.Outcome, p.Stage, p.Rule = synthweb.Dropped, build.StageRobots, build.RuleDisallowed
				twin.Pages[i] = p
				wantProblem(t, &twin, dir, p.URL+" is in the shards, against robots, disallowed")
				return
			}
		}
	})
	t.Run("tokens of another text", func(t *testing.T) {
		c, err := readContents(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		c.decoded[0] += "!"
		var v verdict
		v.match(c)
		if len(v.Problems) != 1 || !strings.Contains(v.Problems[0], "are not its text") {
			t.Errorf("problems: %q", v.Problems)
		}
	})
	t.Run("a damaged folder", func(t *testing.T) {
		path := filepath.Join(dir, "tokens-00000.bin")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[40] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := judge(t.Context(), truth, dir); err == nil || !strings.Contains(err.Error(), "tokens-00000.bin") {
			t.Errorf("error %v, want one that names the file", err)
		}
	})
}

func wantProblem(t *testing.T, truth *synthweb.Truth, dir, want string) {
	t.Helper()
	v, err := judge(t.Context(), truth, dir)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(v.Problems, "\n"); !strings.Contains(all, want) {
		t.Errorf("problems %q, want %q", all, want)
	}
}
