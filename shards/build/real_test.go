package build

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// sharedData finds the folder of real test input beside the checkout, or skips.
func sharedData(t *testing.T, sub string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Skip("no go.mod above the test: cannot find ../shared")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "data", sub)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real test input is not here: %v", err)
	}
	return path
}

// TestRealCrawls states what becomes of every document of the real WARC and JSONL files.
func TestRealCrawls(t *testing.T) {
	fates, problems := judge(t, sharedData(t, "warc"), sharedData(t, "jsonl"))
	count := map[string]int{}
	for _, f := range fates {
		key := "kept"
		if f.drop != nil {
			key = f.drop.Stage + "/" + f.drop.Rule
		}
		count[key]++
	}
	var got []string
	for _, key := range slices.Sorted(maps.Keys(count)) {
		got = append(got, fmt.Sprint(key, " ", count[key]))
	}
	if want := "dedup/same-text 15, extract/empty 1, kept 120, read/content-type 84, read/http-status 42"; strings.Join(got, ", ") != want {
		t.Errorf("fates: %s\nwant   %s", strings.Join(got, ", "), want)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.What, "left out: neither") {
			t.Errorf("problem: %s", p)
		}
	}
}

// TestArticleF1 measures the extractor on pages whose article was marked by hand: F1 over shared runs of four words.
func TestArticleF1(t *testing.T) {
	const atLeast = 0.94 // of which some is lost to headlines, which the marked articles leave out
	dir := sharedData(t, "html")
	raw, err := os.ReadFile(filepath.Join(dir, "ground-truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth map[string]struct {
		Body string `json:"articleBody"`
		URL  string `json:"url"`
	}
	if err := json.Unmarshal(raw, &truth); err != nil {
		t.Fatal(err)
	}
	var sum float64
	n := 0
	for _, name := range slices.Sorted(maps.Keys(truth)) {
		file, err := os.Open(filepath.Join(dir, name+".html.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		z, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(io.LimitReader(z, MaxPage))
		if err != nil {
			t.Fatal(err)
		}
		x, _ := Extract(&Document{URL: truth[name].URL, Page: &Page{Status: 200, ContentType: "text/html", Body: body}})
		sum += f1(shingles(x.Text), shingles(truth[name].Body))
		n++
	}
	if mean := sum / float64(n); n != 22 || mean < atLeast {
		t.Errorf("F1 %.3f over %d pages, want %.3f over 22", mean, n, atLeast)
	}
}

func shingles(text string) map[string]int {
	out := map[string]int{}
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for i := range words {
		out[strings.Join(words[i:min(i+4, len(words))], " ")]++
	}
	return out
}

func f1(got, want map[string]int) float64 {
	both, a, b := 0, 0, 0
	for s, n := range got {
		both += min(n, want[s])
		a += n
	}
	for _, n := range want {
		b += n
	}
	if a+b == 0 {
		return 1
	}
	return 2 * float64(both) / float64(a+b)
}
