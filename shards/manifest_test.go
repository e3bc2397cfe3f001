package shards_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

const (
	sumBin       = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
	sumIdx       = "8855508aade16ec573d21e6a485dfd0a7624085c1a14b5ecdd6485de0c6839a4"
	sumDocs      = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
	sumDropped   = "8d1f3fc0b9e1e6e1b4e1ad6f7b6f9c0c3f8f5f2a43d41e8bd3d2a5e3c3d6c9aa"
	sumTokenizer = "22222222222222222222222222222222222222222222222222222222222222aa"
)

// goldenManifest was written by hand after docs/formats.md.
const goldenManifest = `{"documents":2,"dropped":3,` +
	`"drops":[{"documents":1,"rule":"same text","stage":"dedup"},{"documents":2,"rule":"disallowed","stage":"robots"}],` +
	`"files":[` +
	`{"blocks":["` + sumDocs + `"],"bytes":100,"documents":2,"kind":"documents","path":"documents-00000.parquet","sha256":"` + sumDocs + `","tokens":8},` +
	`{"blocks":["` + sumDropped + `"],"bytes":50,"documents":3,"kind":"dropped","path":"dropped.parquet","sha256":"` + sumDropped + `","tokens":0},` +
	`{"blocks":["` + sumTokenizer + `"],"bytes":20,"documents":0,"kind":"tokenizer","path":"tokenizer.json","sha256":"` + sumTokenizer + `","tokens":0},` +
	`{"blocks":["` + sumBin + `"],"bytes":32,"documents":2,"kind":"tokens","path":"tokens-00000.bin","sha256":"` + sumBin + `","tokens":8},` +
	`{"blocks":["` + sumIdx + `"],"bytes":82,"documents":2,"kind":"index","path":"tokens-00000.idx","sha256":"` + sumIdx + `","tokens":8}],` +
	`"languages":[{"documents":1,"language":"deu","tokens":5},{"documents":1,"language":"roh","tokens":3}],` +
	`"name":"test web","not_applied":["licence","toxicity"],` +
	`"stages":[{"name":"read","settings":{}},{"name":"robots","settings":{"agents":"CCBot, *","unknown":"keep"}}],` +
	`"tokenizer":"` + sumTokenizer + `","tokens":8,"version":1}`

func golden(t *testing.T) shards.Manifest {
	t.Helper()
	m, err := shards.ParseManifest([]byte(goldenManifest))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifestGolden(t *testing.T) {
	m := golden(t)
	if b, err := m.Marshal(); err != nil || string(b) != goldenManifest {
		t.Fatalf("Marshal: %v\n got %s\nwant %s", err, b, goldenManifest)
	}
	if sum, err := m.Digest(); err != nil || sum != digest.Of([]byte(goldenManifest)) {
		t.Fatalf("Digest: %v, %v", sum, err)
	}
	if m.Name != "test web" || m.Stages[1].Settings["unknown"] != "keep" || m.Files[3].Kind != shards.Tokens || m.Languages[1].Tokens != 3 {
		t.Fatalf("parsed %+v", m)
	}
	for _, c := range []struct {
		T    int
		want int64
	}{{1, 7}, {2, 3}, {3, 2}, {7, 1}, {8, 0}} {
		if got := m.Sequences(c.T); got != c.want {
			t.Errorf("Sequences(%d) = %d, want %d", c.T, got, c.want)
		}
	}
	if r := m.Restricted(); len(r) != 1 || !r[m.Files[1].SHA256] {
		t.Errorf("Restricted: %v", r)
	}
	if got := m.Blocks(shards.Tokens, shards.TokenIdx); len(got) != 2 || got[0] != m.Files[3].SHA256 {
		t.Errorf("Blocks: %v", got)
	}
}

// Whatever byte of a manifest is changed: it is refused or has another digest
// and says something else.
func TestManifestEveryByteFlipped(t *testing.T) {
	m := golden(t)
	sum, _ := m.Digest()
	accepted := 0
	for i := range len(goldenManifest) {
		b := []byte(goldenManifest)
		b[i] ^= 1
		other, err := shards.ParseManifest(b)
		if err != nil {
			continue
		}
		accepted++
		if got, err := other.Digest(); err != nil || got == sum {
			t.Errorf("byte %d changed: same digest (%v)", i, err)
		}
	}
	if accepted > 300 { // names, settings, and hashes that stand alone
		t.Errorf("%d changes of a single bit were accepted", accepted)
	}
}

func TestManifestRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *shards.Manifest)
		want   string
	}{
		{"version", func(m *shards.Manifest) { m.Version = 2 }, "version"},
		{"no name", func(m *shards.Manifest) { m.Name = "" }, "name"},
		{"escape in name", func(m *shards.Manifest) { m.Name = "a\x1b[2J" }, "printable"},
		{"no files", func(m *shards.Manifest) { m.Files = []shards.File{} }, "files"},
		{"order", func(m *shards.Manifest) { m.Files[0], m.Files[1] = m.Files[1], m.Files[0] }, "sorted"},
		{"twice", func(m *shards.Manifest) { m.Files = append(m.Files, m.Files[4]) }, "distinct"},
		{"bytes", func(m *shards.Manifest) { m.Files[3].Bytes++ }, "do not hold"},
		{"negative", func(m *shards.Manifest) { m.Files[3].Bytes = -1 }, "outside"},
		{"block missing", func(m *shards.Manifest) { m.Files[0].Blocks = []digest.Sum{} }, "0 blocks"},
		{"block extra", func(m *shards.Manifest) { m.Files[0].Blocks = append(m.Files[0].Blocks, m.Tokenizer) }, "2 blocks"},
		{"block differs", func(m *shards.Manifest) { m.Files[0].Blocks[0][3] ^= 1 }, "only block"},
		{"kind", func(m *shards.Manifest) { m.Files[0].Kind = "text" }, "unknown"},
		{"index gone", func(m *shards.Manifest) { m.Files = m.Files[:4] }, "index"},
		{"index size", func(m *shards.Manifest) { m.Files[4].Bytes++ }, "not an index"},
		{"index disagrees", func(m *shards.Manifest) { m.Files[4].Tokens++ }, "its index says"},
		{"documents", func(m *shards.Manifest) { m.Files[0].Documents++ }, "documents files"},
		{"total", func(m *shards.Manifest) { m.Tokens++ }, "tokens in tokens files"},
		{"language total", func(m *shards.Manifest) { m.Languages[0].Tokens++ }, "all languages"},
		{"language order", func(m *shards.Manifest) { m.Languages[0].Language = "zzz" }, "sorted"},
		{"drops total", func(m *shards.Manifest) { m.Drops[0].Documents++ }, "all drops"},
		{"drops order", func(m *shards.Manifest) { m.Drops[0].Stage = "z" }, "sorted"},
		{"dropped rows", func(m *shards.Manifest) { m.Files[1].Documents++ }, "dropped file"},
		{"tokenizer", func(m *shards.Manifest) { m.Tokenizer[0] ^= 1 }, "tokenizer"},
		{"not applied twice", func(m *shards.Manifest) { m.NotApplied[1] = "licence" }, "not_applied"},
		{"applied and not", func(m *shards.Manifest) { m.NotApplied[0] = "dedup"; m.Stages[0].Name = "dedup" }, "also listed"},
	} {
		m := golden(t)
		c.change(&m)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", c.name, err, c.want)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shards.ParseManifest(b); err == nil {
			t.Errorf("%s: parsed", c.name)
		}
	}
}

// hostilePaths would leave the folder, hide, collide or confuse.
var hostilePaths = []string{
	"", ".", "..", "/", "/etc/passwd", "../tokens-00000.bin", "a/../b", "a/./b", "a//b", "a/", "./a", "a/..", "..\\a", "C:\\a", "C:a",
	".hidden", "a/.git", "a.", "a ", " a", "a b", "a\x00b", "a\nb", "a\x1b[31m", "a\tb", "~/a", "a:b", "a*", "a?", "a|b", "a<b", "a>b", `a"b`,
	"nul", "NUL", "con.txt", "aux.bin", "com1", "LPT9.parquet", "a/prn/b", "é", "a\u202eb", "\ufeffa", "\xff", "%2e%2e/a", "a%00", "$HOME", "`a`",
	"manifest.json", "MANIFEST.json", "signatures.json", strings.Repeat("a", 256), strings.Repeat("../", 50) + "a", "-/..", "a/..b/../c", "\\\\host\\share",
}

func TestManifestRefusesPaths(t *testing.T) {
	for _, path := range hostilePaths {
		m := golden(t)
		m.Files[0].Path = path
		if err := m.Validate(); err == nil {
			t.Errorf("path %q: accepted", path)
		}
	}
	m := golden(t)
	folded := m.Files[0]
	folded.Path = "Documents-00000.parquet"
	m.Files = append([]shards.File{folded}, m.Files...)
	if err := m.Validate(); err == nil || !strings.Contains(err.Error(), "case") {
		t.Errorf("paths that differ in case only: %v", err)
	}
	m = golden(t)
	inside := m.Files[0]
	inside.Path = "documents-00000.parquet/a"
	m.Files = append([]shards.File{m.Files[0], inside}, m.Files[1:]...)
	if err := m.Validate(); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a file that is also a folder: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(goldenManifest))
	f.Add([]byte(`{"documents":0}`))
	f.Add([]byte(strings.Replace(goldenManifest, "tokens-00000", "../okens-000", 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := shards.ParseManifest(b)
		if err != nil {
			return
		}
		if again, err := m.Marshal(); err != nil || string(again) != string(b) {
			t.Fatalf("accepted %q, written as %q (%v)", b, again, err)
		}
	})
}
