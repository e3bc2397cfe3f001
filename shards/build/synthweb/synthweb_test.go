package synthweb

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards/build/warc"
)

func generate(t *testing.T, seed uint64, opt Options) (*Truth, [][]byte) {
	t.Helper()
	truth, err := Generate(t.TempDir(), seed, opt)
	if err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	for _, path := range append(slices.Clone(truth.Crawl), truth.HeldBack) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
	}
	return truth, files
}

func records(t *testing.T, data []byte) []*warc.Record {
	t.Helper()
	r, err := warc.NewReader("test", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out []*warc.Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.BlockDigest() != warc.Match {
			t.Errorf("record at %s: wrong block digest", rec.Position)
		}
		out = append(out, rec)
	}
}

// TestGolden pins the bytes. The compressed ones hang on the pinned compressor, the uncompressed ones only on this package
// (and, for two sites, on the compressor again); a change of either is a new web and must be meant.
func TestGolden(t *testing.T) {
	_, files := generate(t, 1, Options{})
	for i, want := range []string{"3f8cf785c770d69a", "2bbcff47fb7a89ca", "62fbc4c13a1c942e"} {
		sum := sha256.Sum256(files[i])
		if got := hex.EncodeToString(sum[:8]); got != want {
			t.Errorf("file %d hashes to %s, want %s", i, got, want)
		}
	}
}

func TestSeedDecides(t *testing.T) {
	_, a := generate(t, 7, Options{Pages: 2})
	_, b := generate(t, 7, Options{Pages: 2})
	_, c := generate(t, 8, Options{Pages: 2})
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			t.Errorf("file %d differs between two runs with one seed", i)
		}
		if bytes.Equal(a[i], c[i]) {
			t.Errorf("file %d does not depend on the seed", i)
		}
	}
}

func TestTruthMatchesFiles(t *testing.T) {
	truth, files := generate(t, 1, Options{})
	var urls []string
	for _, data := range files[:2] {
		for _, rec := range records(t, data) {
			if rec.Type() == "response" && !strings.HasSuffix(rec.TargetURI(), "/robots.txt") {
				urls = append(urls, rec.TargetURI())
			}
		}
	}
	var want []string
	rules := map[string]bool{}
	for _, p := range truth.Pages {
		want = append(want, p.URL)
		if p.Outcome == Dropped {
			rules[p.Stage+" "+p.Rule] = true
		}
	}
	if !slices.Equal(urls, want) {
		t.Errorf("the files hold %d pages, the truth %d", len(urls), len(want))
	}
	if len(rules) != 9 {
		t.Errorf("%d kinds of drops are planted: %v", len(rules), rules)
	}
	seen := map[string]bool{}
	for _, p := range truth.Planted {
		if seen[p.Value] {
			t.Errorf("%q is planted twice", p.Value)
		}
		seen[p.Value] = true
	}
}

func TestIssueAsksFor(t *testing.T) {
	truth, _ := generate(t, 1, Options{})
	languages := truth.PagesByLanguage()
	if len(truth.Sites) < 12 || len(languages) < 8 {
		t.Errorf("%d sites, %d languages; want 12 and 8 at least", len(truth.Sites), len(languages))
	}
	kinds := map[string]int{}
	for _, p := range truth.Planted {
		kinds[p.Kind]++
	}
	for _, kind := range []string{"email", "ip", "iban"} {
		if kinds[kind] < 20 {
			t.Errorf("%d of kind %s are planted", kinds[kind], kind)
		}
	}
	if len(truth.Held) != 2*(len(truth.Sites)-1) {
		t.Errorf("%d pages held back", len(truth.Held))
	}
}

func TestHeldBackDoesNotOverlap(t *testing.T) {
	truth, _ := generate(t, 1, Options{})
	held := map[string]bool{}
	for _, p := range truth.Held {
		held[p.URL] = true
	}
	for _, p := range truth.Pages {
		if held[p.URL] {
			t.Errorf("%s is in both", p.URL)
		}
	}
}

func TestLexiconsAreWhole(t *testing.T) {
	for _, l := range lexicons() {
		if len(l.openers) != 10 || len(l.clauses) != 20 || len(l.sayings) != 10 || len(l.topics) != 14 || len(l.nav) != 4 {
			t.Errorf("%s: %d openers, %d clauses, %d sayings, %d topics, %d nav", l.code, len(l.openers), len(l.clauses), len(l.sayings), len(l.topics), len(l.nav))
		}
		for _, template := range []string{l.email, l.address, l.account} {
			if strings.Count(template, "%s") != 1 {
				t.Errorf("%s: template %q", l.code, template)
			}
		}
		if strings.Trim(l.order, "OCPT") == l.order || !strings.HasPrefix(l.order, "O") {
			t.Errorf("%s: order %q", l.code, l.order)
		}
	}
}

func TestRefusesNonsense(t *testing.T) {
	if _, err := Generate(t.TempDir(), 1, Options{Pages: 1}); err == nil {
		t.Error("one page per site was accepted")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(file, 1, Options{}); err == nil || !strings.Contains(err.Error(), "part-0") {
		t.Errorf("writing below a file: %v", err)
	}
}
