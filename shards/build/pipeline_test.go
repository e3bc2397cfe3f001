package build

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/build/synthweb"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/verify/digest"
)

// synthetic generates the demo's web, small.
func synthetic(t *testing.T) (dir string, truth *synthweb.Truth) {
	t.Helper()
	dir = t.TempDir()
	truth, err := synthweb.Generate(dir, 7, synthweb.Options{Pages: 4})
	if err != nil {
		t.Fatal(err)
	}
	return dir, truth
}

func mustBuild(t *testing.T, opt Options) (string, Report) {
	t.Helper()
	opt.Out = filepath.Join(t.TempDir(), "shards")
	if opt.Name == "" {
		opt.Name = "test"
	}
	report, err := Build(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return opt.Out, report
}

func readRows[T shards.Row](t *testing.T, path string) (all []T) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range shards.Rows[T](f, info.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// TestBuild builds the synthetic web and compares every fate with the truth, and the tokens with the texts.
func TestBuild(t *testing.T) {
	dir, truth := synthetic(t)
	salt := []byte("a salt for this test only")
	out, report := mustBuild(t, Options{Inputs: []string{filepath.Join(dir, "crawl")}, VocabSize: 600, Seed: 3, Salt: salt})
	found, err := shards.Check(t.Context(), out, nil)
	if err != nil || len(found.Problems) > 0 || found.Manifest != report.ManifestDigest {
		t.Fatalf("the folder does not check: %+v, %v", found, err)
	}
	documents := readRows[shards.Document](t, filepath.Join(out, "documents-00000.parquet"))
	drops := readRows[shards.Dropped](t, filepath.Join(out, "dropped.parquet"))
	if report.Read != len(truth.Pages) || len(documents)+len(drops) != report.Read || len(report.Problems) > 0 {
		t.Errorf("%d read, %d kept, %d dropped, %d in truth, problems %v", report.Read, len(documents), len(drops), len(truth.Pages), report.Problems)
	}
	kept := map[string]shards.Document{}
	for _, d := range documents {
		kept[d.URL] = d
		if alive := truth.Survivors(d.Text); len(alive) > 0 {
			t.Errorf("%s: %+v survives", d.URL, alive)
		}
		if d.SHA256 != digest.Of([]byte(d.Text)).String() {
			t.Errorf("%s: sha256 is not that of its text", d.URL)
		}
	}
	gone := map[string]shards.Dropped{}
	for _, d := range drops {
		gone[d.Host+" "+d.PathHash] = d
	}
	for _, p := range truth.Pages {
		_, isKept := kept[p.URL]
		drop, isGone := gone[hostOf(p.URL)+" "+shards.PathHash(salt, pathOf(p.URL))]
		if isKept != (p.Outcome == synthweb.Kept) || isGone == isKept || drop.Stage != p.Stage || drop.Rule != p.Rule || isGone && drop.Evidence == "" {
			t.Errorf("%s: kept %v, dropped %+v; want %s by %s %s", p.URL, isKept, drop, p.Outcome, p.Stage, p.Rule)
		}
	}
	if report.PII.Total() != len(truth.Planted) || report.Robots["disallowed"] == 0 {
		t.Errorf("%+v masked, %d planted; robots %v", report.PII, len(truth.Planted), report.Robots)
	}
	if got := report.Manifest.NotApplied; !slices.Equal(got, []string{"licence", "toxicity"}) {
		t.Errorf("not applied: %v", got)
	}
	checkTokens(t, out, report, documents)
}

// checkTokens decodes the token stream and compares it with the documents' texts.
func checkTokens(t *testing.T, out string, report Report, documents []shards.Document) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(out, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(b)
	if err != nil || tok.Digest() != report.Manifest.Tokenizer {
		t.Fatalf("tokenizer: %v", err)
	}
	folder, err := shards.OpenFolder(out)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	r, err := shards.OpenReader(report.Manifest, folder, 1)
	if err != nil {
		t.Fatal(err)
	}
	stream := make([]int32, 0, report.Manifest.Tokens)
	for i := range r.Sequences() {
		pair, err := r.Sequence(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			stream = append(stream, pair[0])
		}
		stream = append(stream, pair[1])
	}
	var at int64
	for _, d := range documents {
		tokens := stream[d.TokenStart:d.TokenEnd]
		if d.TokenStart != at || tokens[0] != tokenizer.BOS || tokens[len(tokens)-1] != tokenizer.EOS || tok.Decode(tokens[1:len(tokens)-1]) != d.Text {
			t.Fatalf("%s: tokens %d to %d are not its text between <s> and </s>", d.URL, d.TokenStart, d.TokenEnd)
		}
		at = d.TokenEnd
	}
	if at != report.Manifest.Tokens {
		t.Errorf("documents end at token %d of %d", at, report.Manifest.Tokens)
	}
}

func TestBuildMixesSites(t *testing.T) {
	dir, _ := synthetic(t)
	out, _ := mustBuild(t, Options{Inputs: []string{filepath.Join(dir, "crawl")}, VocabSize: 400})
	documents := readRows[shards.Document](t, filepath.Join(out, "documents-00000.parquet"))
	same := 0
	for i := 1; i < len(documents); i++ {
		if documents[i].Domain == documents[i-1].Domain {
			same++
		}
	}
	if same > len(documents)/3 {
		t.Errorf("%d of %d documents follow one of their own site", same, len(documents))
	}
}

// digests names every file of a folder.
func digests(t *testing.T, dir string) map[string]digest.Sum {
	t.Helper()
	sums := map[string]digest.Sum{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sums[e.Name()] = digest.Of(b)
	}
	return sums
}

func TestBuildIsDeterministic(t *testing.T) {
	dir, _ := synthetic(t)
	opt := Options{Inputs: []string{filepath.Join(dir, "crawl")}, VocabSize: 500, Seed: 9, Salt: []byte("s")}
	first, report := mustBuild(t, opt)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	second, _ := mustBuild(t, opt)
	if a, b := digests(t, first), digests(t, second); !maps.Equal(a, b) {
		t.Errorf("the same input gave\n%v and\n%v", a, b)
	}
	runtime.GOMAXPROCS(5)
	opt.Tokenizer = report.Tokenizer
	third, given := mustBuild(t, opt)
	a, b := digests(t, first), digests(t, third)
	for _, name := range []string{"tokens-00000.bin", "tokens-00000.idx", "documents-00000.parquet", "dropped.parquet", "tokenizer.json"} {
		if a[name] != b[name] {
			t.Errorf("%s differs under a tokenizer that was given", name)
		}
	}
	opt.Seed++
	if _, other := mustBuild(t, opt); other.ManifestDigest == given.ManifestDigest {
		t.Error("another seed gave the same shards")
	}
}

func TestBuildMakesASalt(t *testing.T) {
	dir, _ := synthetic(t)
	out := filepath.Join(t.TempDir(), "an-empty-folder")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	report, err := Build(t.Context(), Options{Inputs: []string{filepath.Join(dir, "crawl")}, Out: out, Name: "x", VocabSize: 400})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out + ".salt")
	if err != nil || report.SaltFile != out+".salt" {
		t.Fatalf("salt file %q: %v", report.SaltFile, err)
	}
	if salt, err := hex.DecodeString(strings.TrimSpace(string(b))); err != nil || len(salt) != 32 {
		t.Errorf("salt %q: %v", b, err)
	}
	if info, err := os.Stat(out + ".salt"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("salt file: %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(out))
	if err != nil || len(left) != 2 {
		t.Errorf("left beside the shards: %v, %v", left, err)
	}
}

func TestBuildRefuses(t *testing.T) {
	dir, _ := synthetic(t)
	crawl := []string{filepath.Join(dir, "crawl")}
	full := t.TempDir()
	write(t, full, "something", nil)
	garbage := write(t, t.TempDir(), "garbage.warc.gz", []byte("this is no archive at all"))
	empty := write(t, t.TempDir(), "empty.txt", []byte(" \n"))
	for _, c := range []struct {
		name string
		opt  Options
		want string
	}{
		{"a folder in use", Options{Inputs: crawl, Out: full, Name: "x", VocabSize: 400}, "not empty"},
		{"no input", Options{Inputs: []string{filepath.Join(dir, "nothing")}, Out: filepath.Join(t.TempDir(), "s"), Name: "x", VocabSize: 400}, "nothing"},
		{"garbage only", Options{Inputs: []string{garbage}, Out: filepath.Join(t.TempDir(), "s"), Name: "x", VocabSize: 400}, "garbage.warc.gz"},
		{"nothing left", Options{Inputs: []string{empty}, Out: filepath.Join(t.TempDir(), "s"), Name: "x", VocabSize: 400}, "no document is left"},
		{"a vocabulary too small", Options{Inputs: crawl, Out: filepath.Join(t.TempDir(), "s"), Name: "x", VocabSize: 10}, "vocabulary"},
		{"no name", Options{Inputs: crawl, Out: filepath.Join(t.TempDir(), "s"), VocabSize: 400}, "name"},
	} {
		_, err := Build(t.Context(), c.opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", c.name, err, c.want)
		}
		if left, err := os.ReadDir(filepath.Dir(c.opt.Out)); c.opt.Out != full && (err != nil || len(left) != 0) {
			t.Errorf("%s: left behind %v, %v", c.name, left, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, Options{Inputs: crawl, Out: filepath.Join(t.TempDir(), "s"), Name: "x", VocabSize: 400}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestBuildOfDamagedInput: what can be read is built, what cannot is named.
func TestBuildOfDamagedInput(t *testing.T) {
	dir, _ := synthetic(t)
	whole, err := os.ReadFile(filepath.Join(dir, "crawl", "part-0.warc.gz"))
	if err != nil {
		t.Fatal(err)
	}
	in := t.TempDir()
	write(t, in, "cut.warc.gz", whole[:len(whole)*2/3])
	write(t, in, "cut.txt.gz", gz(t, []byte("Ein Satz, der noch zu lesen ist.\n\n"))[:20])
	write(t, in, "lines.jsonl", []byte("{\"text\":\"Eine gute Zeile.\"}\n{\"text\": 17}\n{\"te"))
	_, report := mustBuild(t, Options{Inputs: []string{in}, VocabSize: 400})
	text := fmt.Sprint(report.Problems)
	for _, name := range []string{"cut.warc.gz", "cut.txt.gz", "lines.jsonl"} {
		if !strings.Contains(text, name) {
			t.Errorf("the damage in %s is not reported: %s", name, text)
		}
	}
	if report.Manifest.Documents < 5 {
		t.Errorf("only %d documents were kept", report.Manifest.Documents)
	}
}

// TestBuildOfRealInput builds shards of all real WARC, JSONL and text files.
func TestBuildOfRealInput(t *testing.T) {
	inputs := []string{sharedData(t, "warc"), sharedData(t, "jsonl"), sharedData(t, "text")}
	out, report := mustBuild(t, Options{Inputs: inputs, VocabSize: 1024})
	found, err := shards.Check(t.Context(), out, nil)
	if err != nil || len(found.Problems) > 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	m := report.Manifest
	t.Logf("%d read, %d kept, %d tokens, %d languages, drops %v, masked %+v, robots %v, problems %d", report.Read, m.Documents, m.Tokens, len(m.Languages), m.Drops, report.PII, report.Robots, len(report.Problems))
	for _, p := range report.Problems {
		t.Log(p)
	}
	if m.Documents < 500 || m.Tokens < 500_000 || len(m.Languages) < 40 {
		t.Errorf("%d documents, %d tokens, %d languages", m.Documents, m.Tokens, len(m.Languages))
	}
}
