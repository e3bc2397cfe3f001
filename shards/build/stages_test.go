package build

import (
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards/build/privacy"
	"github.com/allmend-network/allmend/shards/build/robots"
	"github.com/allmend-network/allmend/shards/build/synthweb"
)

// fate is what the stages say about one document.
type fate struct {
	doc      *Document
	robots   RobotsDecision
	page     Extraction
	language Language
	text     string // masked
	pii      privacy.Counts
	drop     *Drop
}

// judge applies the stages up to deduplication, in order.
func judge(t *testing.T, paths ...string) ([]fate, []Problem) {
	t.Helper()
	src, err := Open(paths)
	if err != nil {
		t.Fatal(err)
	}
	index, err := src.Robots()
	if err != nil {
		t.Fatal(err)
	}
	seen := Seen{}
	var out []fate
	for doc, err := range src.Documents() {
		if err != nil {
			t.Fatal(err)
		}
		f := fate{doc: doc}
		if f.drop = Admissible(doc); f.drop == nil {
			f.robots = index.Decide(doc, robots.Agents())
			f.drop = f.robots.Drop()
		}
		if f.drop == nil {
			f.page, f.drop = Extract(doc)
		}
		if f.drop == nil {
			f.drop = f.page.OptOut
		}
		if f.drop == nil {
			f.language = Identify(f.page.Text)
			f.text, f.pii = privacy.Mask(f.page.Text)
			f.drop = seen.Add(TextDigest(f.page.Text), doc.Origin)
		}
		out = append(out, f)
	}
	return out, src.Problems()
}

func byURL(fates []fate) map[string]fate {
	out := map[string]fate{}
	for _, f := range fates {
		out[f.doc.URL] = f
	}
	return out
}

// TestPlantedIsCaught is the demo's promise: every page has the fate the truth names, nothing planted can be read.
func TestPlantedIsCaught(t *testing.T) {
	dir := t.TempDir()
	truth, err := synthweb.Generate(dir, 1, synthweb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, problems := judge(t, dir+"/crawl")
	fates := byURL(all)
	if len(problems) > 0 || len(all) != len(fates) || len(fates) != len(truth.Pages) {
		t.Errorf("%d pages, want %d; problems %v", len(fates), len(truth.Pages), problems)
	}
	counts := privacy.Counts{}
	mislabelled, bytes := 0, 0
	licence := map[string]string{}
	for _, s := range truth.Sites {
		licence[s.Host] = s.Licence
	}
	for _, p := range truth.Pages {
		f := fates[p.URL]
		if p.Outcome == synthweb.Dropped {
			if f.drop == nil || f.drop.Stage != p.Stage || f.drop.Rule != p.Rule || f.drop.Evidence == "" {
				t.Errorf("%s: %+v, want %s %s", p.URL, f.drop, p.Stage, p.Rule)
			}
			continue
		}
		if f.drop != nil {
			t.Errorf("%s: dropped by %+v", p.URL, *f.drop)
			continue
		}
		if alive := truth.Survivors(f.text); len(alive) > 0 {
			t.Errorf("%s: %+v survives", p.URL, alive)
		}
		if f.language.Code != p.Language {
			mislabelled++
			t.Logf("%s: %+v, want %s", p.URL, f.language, p.Language)
		}
		if got := SPDX(f.page.Licences); got != licence[f.doc.Host] {
			t.Errorf("%s: licence %q, want %q", p.URL, got, licence[f.doc.Host])
		}
		if strings.Contains(f.text, "window.page") || f.page.Method != "article" {
			t.Errorf("%s: %s extraction holds furniture", p.URL, f.page.Method)
		}
		counts = counts.Add(f.pii)
		bytes += len(f.text)
	}
	if counts.Total() != len(truth.Planted) {
		t.Errorf("%+v masked, %d planted", counts, len(truth.Planted))
	}
	if mislabelled != 0 || bytes < 350_000 || bytes > 500_000 {
		t.Errorf("%d pages mislabelled, %d bytes of clean text", mislabelled, bytes)
	}
	all, problems = judge(t, truth.HeldBack)
	held := byURL(all)
	for _, p := range truth.Held {
		if f := held[p.URL]; f.drop != nil || f.doc == nil || f.language.Code != p.Language {
			t.Errorf("held back %s: %+v %+v", p.URL, f.drop, f.language)
		}
	}
	if len(problems) > 0 || len(held) != len(truth.Held) {
		t.Errorf("held back: %d pages, want %d; problems %v", len(held), len(truth.Held), problems)
	}
}

// TestStagesAreFunctions runs everything twice: same input, same answers.
func TestStagesAreFunctions(t *testing.T) {
	dir := t.TempDir()
	if _, err := synthweb.Generate(dir, 3, synthweb.Options{Pages: 2}); err != nil {
		t.Fatal(err)
	}
	a, _ := judge(t, dir+"/crawl")
	b, _ := judge(t, dir+"/crawl")
	for i := range a {
		if a[i].text != b[i].text || a[i].language != b[i].language || (a[i].drop == nil) != (b[i].drop == nil) {
			t.Errorf("%s: two runs differ", a[i].doc.URL)
		}
	}
}
