package build

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/allmend-network/allmend/shards/build/robots"
	"github.com/allmend-network/allmend/shards/build/synthweb"
	"github.com/allmend-network/allmend/shards/build/warc"
	"github.com/allmend-network/allmend/verify/digest"
)

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gz(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func documents(t *testing.T, paths ...string) ([]*Document, []Problem) {
	t.Helper()
	src, err := Open(paths)
	if err != nil {
		t.Fatal(err)
	}
	var docs []*Document
	for doc, err := range src.Documents() {
		if err != nil {
			t.Fatal(err)
		}
		if len(docs) > 0 && docs[len(docs)-1].Origin.Compare(doc.Origin) >= 0 {
			t.Errorf("%+v does not come after %+v", doc.Origin, docs[len(docs)-1].Origin)
		}
		docs = append(docs, doc)
	}
	return docs, src.Problems()
}

const lines = `{"id":"a","text":"eins","url":"https://Alp.example:8080/x","metadata":{"date_download":"2020-06-05T04:25:29Z"}}

{"id":"https://alp.example/b","text":"zwei","created":"2021-01-01","metadata":{}}
{"key":7,"paragraphs":["drei","vier"]}
`

func TestFolderOfEverything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "input")
	write(t, dir, "b/2.jsonl.gz", gz(t, []byte(lines)))
	write(t, dir, "b/1.jsonl", []byte(lines))
	write(t, dir, "b/3.jsonl.zst", zst(t, []byte(lines)))
	write(t, dir, "a.txt", []byte("\uFEFFGrüezi\n"))
	write(t, dir, "c.txt.gz", gz(t, []byte("salut")))
	write(t, dir, "d.pdf", []byte("%PDF"))
	write(t, dir, ".hidden/e.txt", []byte("no"))
	docs, problems := documents(t, dir)
	var got []string
	for _, d := range docs {
		got = append(got, d.Origin.File+" "+d.Text)
	}
	want := []string{"input/a.txt Grüezi\n",
		"input/b/1.jsonl eins", "input/b/1.jsonl zwei", "input/b/1.jsonl drei\nvier",
		"input/b/2.jsonl.gz eins", "input/b/2.jsonl.gz zwei", "input/b/2.jsonl.gz drei\nvier",
		"input/b/3.jsonl.zst eins", "input/b/3.jsonl.zst zwei", "input/b/3.jsonl.zst drei\nvier",
		"input/c.txt.gz salut"}
	if !slices.Equal(got, want) {
		t.Errorf("documents\n%q\nwant\n%q", got, want)
	}
	if len(problems) != 1 || problems[0].File != "input/d.pdf" {
		t.Errorf("problems %v", problems)
	}
	first, second := docs[1], docs[2]
	if first.Host != "alp.example:8080" || first.Date != "2020-06-05T04:25:29Z" || first.Origin.Line != 1 || first.Origin.Offset != 0 {
		t.Errorf("first line: %+v", first)
	}
	at := strings.Index(lines, `{"id":"https`)
	if second.URL != "https://alp.example/b" || second.Date != "2021-01-01" || second.Origin.Line != 3 || second.Origin.Offset != int64(at) {
		t.Errorf("second line: %+v", second)
	}
	line, _, _ := strings.Cut(lines[at:], "\n")
	if second.Origin.SHA256 != digest.Of([]byte(line)) || docs[5].Origin.Position != (warc.Position{Within: int64(at)}) {
		t.Errorf("digest or position of the line: %+v", docs[5].Origin)
	}
}

func TestDamageIsReportedAndTheRestRead(t *testing.T) {
	long := bytes.Repeat([]byte(lines), 500)
	for _, c := range []struct {
		name      string
		data      []byte
		documents int
		file      string
		what      string
	}{
		{"cut line", []byte(lines + `{"text":"fünf`), 3, "x.jsonl", "line 5 is left out"},
		{"no text", []byte(`{"a":1}` + "\n" + lines), 3, "x.jsonl", `neither "text" nor "paragraphs"`},
		{"garbage", []byte("\x00\x01\n" + lines), 3, "x.jsonl", "line 1 is left out"},
		{"long line", append(bytes.Repeat([]byte("x"), maxLine+1), "\n"+lines...), 3, "x.jsonl", "more than"},
		{"cut gzip", gz(t, long)[:len(gz(t, long))-9], -1, "x.jsonl.gz", "the lines before it were kept"},
		{"no gzip", []byte("hello"), 0, "x.jsonl.gz", "gzip header is damaged"},
		{"cut zstd", zst(t, long)[:20], 0, "x.jsonl.zst", "cannot be read"},
		{"cut text", gz(t, []byte(strings.Repeat("Im Frühling. ", 9)))[:20], -1, "x.txt.gz", "what came before was kept"},
		{"bad UTF-8", []byte("a\xffb"), 1, "x.txt", "not UTF-8"},
		{"cut warc", []byte("WARC/1.0\r\nWARC-Type: conversion\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nhoi!\r\n\r\nWARC/1.0\r\n"), 1, "x.warc", "the records before it were kept"},
		{"no warc", []byte("hello"), 0, "x.warc", "no version line"},
		{"empty warc", nil, 0, "x.warc", ""},
	} {
		docs, problems := documents(t, write(t, t.TempDir(), c.file, c.data))
		if c.documents >= 0 && len(docs) != c.documents {
			t.Errorf("%s: %d documents, want %d", c.name, len(docs), c.documents)
		}
		if c.what == "" && len(problems) == 0 {
			continue
		}
		if len(problems) != 1 || problems[0].File != c.file || !strings.Contains(problems[0].What, c.what) {
			t.Errorf("%s: problems %v, want %q", c.name, problems, c.what)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"missing":      filepath.Join(dir, "none.warc"),
		"unknown":      write(t, dir, "x.pdf", nil),
		"empty folder": t.TempDir(),
	} {
		if _, err := Open([]string{path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name %s", name, err, path)
		}
	}
}

// TestLongTextIsCutWithoutLoss puts the pieces together again.
func TestLongTextIsCutWithoutLoss(t *testing.T) {
	for _, unit := range []string{"Die Allmend.\n\n", "Die Allmend.\n", "Größe"} {
		text := strings.Repeat(unit, 3*maxText/len(unit))
		docs, problems := documents(t, write(t, t.TempDir(), "x.txt", []byte(text)))
		var whole strings.Builder
		for _, d := range docs {
			if d.Origin.Offset != int64(whole.Len()) {
				t.Errorf("piece at %d says %d", whole.Len(), d.Origin.Offset)
			}
			whole.WriteString(d.Text)
		}
		if whole.String() != text || len(docs) < 3 || len(problems) > 0 {
			t.Errorf("%q: %d pieces, %d of %d bytes, %v", unit, len(docs), whole.Len(), len(text), problems)
		}
	}
}

// TestCutCrawl cuts a real WARC in the middle: what was read stays, the damage is named.
func TestCutCrawl(t *testing.T) {
	dir := t.TempDir()
	truth, err := synthweb.Generate(dir, 1, synthweb.Options{Pages: 2})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(truth.Crawl[0])
	if err != nil {
		t.Fatal(err)
	}
	whole, _ := documents(t, truth.Crawl[0])
	cut, problems := documents(t, write(t, dir, "cut.warc.gz", data[:len(data)/2]))
	if len(cut) == 0 || len(cut) >= len(whole) || len(problems) != 1 || problems[0].Offset == 0 {
		t.Errorf("%d of %d documents, problems %v", len(cut), len(whole), problems)
	}
	for i, d := range cut {
		if d.Origin.SHA256 != whole[i].Origin.SHA256 {
			t.Errorf("document %d differs", i)
		}
	}
}

func robotsRecord(t *testing.T, w *warc.Writer, date, body string) {
	t.Helper()
	err := w.Write(warc.Header{{Name: "WARC-Type", Value: "response"}, {Name: "WARC-Date", Value: date},
		{Name: "WARC-Target-URI", Value: "https://Alp.example/robots.txt"}, {Name: "Content-Type", Value: "application/http"}},
		[]byte("HTTP/1.1 200 OK\r\n\r\n"+body))
	if err != nil {
		t.Fatal(err)
	}
}

func TestLatestRobotsCounts(t *testing.T) {
	var out bytes.Buffer
	w := warc.NewWriter(&out)
	robotsRecord(t, w, "2025-01-01T00:00:00Z", "User-agent: *\nDisallow: /")
	robotsRecord(t, w, "2026-01-01T00:00:00Z", "User-agent: *\nDisallow: /new")
	robotsRecord(t, w, "2024-01-01T00:00:00Z", "User-agent: *\nAllow: /")
	src, err := Open([]string{write(t, t.TempDir(), "x.warc.gz", out.Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	index, err := src.Robots()
	if err != nil {
		t.Fatal(err)
	}
	decide := func(rawURL string) RobotsDecision {
		return index.Decide(&Document{URL: rawURL, Host: hostOf(rawURL)}, robots.Agents())
	}
	if d := decide("https://ALP.example/old"); d.Outcome != robots.Allowed || d.Drop() != nil || d.Record.Date[:4] != "2026" {
		t.Errorf("old: %+v", d)
	}
	d := decide("https://alp.example/new")
	if drop := d.Drop(); drop == nil || drop.Rule != RuleDisallowed || !strings.Contains(drop.Evidence, "line 2") || !strings.Contains(drop.Evidence, d.Record.SHA256.String()) {
		t.Errorf("new: %+v", drop)
	}
	if d := decide("https://other.example/"); d.Outcome != robots.Unknown || d.Drop() != nil {
		t.Errorf("other site: %+v", d)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(lines))
	f.Add([]byte(`{"text":null,"id":{"a":[]}}` + "\n\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Source{}
		n := 0
		s.readLines(stream{Reader: bytes.NewReader(data)}, Origin{File: "fuzz"}, func(d *Document) bool {
			n++
			return true
		})
		if got := n + len(s.problems); got > bytes.Count(data, []byte("\n"))+1 {
			t.Fatalf("%d documents and problems from %d lines", got, bytes.Count(data, []byte("\n"))+1)
		}
	})
}
