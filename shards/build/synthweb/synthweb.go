// Package synthweb is a small made-up web with known truth: sites in ten languages and six scripts as real WARC files, from a seed.
//
// Every sentence was written for this project. Personal data, opt-outs, licences, broken pages and duplicates are planted, and Truth
// lists each with what must become of it. The same seed and options give the same bytes on every machine.
package synthweb

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/allmend-network/allmend/shards/build/warc"
)

// Options set what the seed does not. The zero value is the web of the demo.
type Options struct {
	Date  string // WARC-Date of every record; "" means 2026-01-05T08:00:00Z
	Pages int    // ordinary pages per site; 0 means 14 (about 0.5 MB of text)
}

// What must become of a planted thing or a page.
const (
	Kept    = "kept"
	Dropped = "dropped"
	Masked  = "masked"
)

// Truth is what was generated and what must become of it.
type Truth struct {
	Seed     uint64    `json:"seed"`
	Crawl    []string  `json:"crawl"`     // paths of the WARC files to build from, in the folder Crawl of dir
	HeldBack string    `json:"held_back"` // path of the WARC file kept for evaluation: same sites, other pages
	Sites    []Site    `json:"sites"`
	Pages    []Page    `json:"pages"`   // of the crawl, in file order
	Held     []Page    `json:"held"`    // of the held-back file
	Planted  []Planted `json:"planted"` // personal data in pages that are kept
}

// Site is one host.
type Site struct {
	Host     string `json:"host"`
	Language string `json:"language"` // ISO 639-3
	Licence  string `json:"licence"`  // SPDX, "" if the site states none
	Robots   string `json:"robots"`   // "file", "missing" (404) or "none" (no record)
}

// Page is one address and its fate: kept, or dropped by a rule of a stage as package build names them.
type Page struct {
	URL      string `json:"url"`
	Language string `json:"language"`
	Outcome  string `json:"outcome"`
	Stage    string `json:"stage,omitempty"`
	Rule     string `json:"rule,omitempty"`
}

// Planted is one piece of personal data and the page it was written into; it must be masked there.
type Planted struct {
	Kind    string `json:"kind"` // "email", "ip" or "iban"
	Value   string `json:"value"`
	URL     string `json:"url"`
	Outcome string `json:"outcome"`
}

// PagesByLanguage counts the pages that must be kept, by ISO 639-3 code.
func (t *Truth) PagesByLanguage() map[string]int {
	n := map[string]int{}
	for _, p := range t.Pages {
		if p.Outcome == Kept {
			n[p.Language]++
		}
	}
	return n
}

// Survivors gives the planted values that can still be read in text.
func (t *Truth) Survivors(text string) []Planted {
	var found []Planted
	for _, p := range t.Planted {
		if strings.Contains(text, p.Value) {
			found = append(found, p)
		}
	}
	return found
}

// Generate writes the web below dir, as crawl/part-0.warc.gz, crawl/part-1.warc.gz and heldback/heldback.warc.gz, and gives
// the truth about it. Files of these names are replaced, each as a whole.
func Generate(dir string, seed uint64, opt Options) (*Truth, error) {
	if opt.Date == "" {
		opt.Date = "2026-01-05T08:00:00Z"
	}
	if opt.Pages == 0 {
		opt.Pages = 14
	}
	if opt.Pages < 2 || opt.Pages > 1000 {
		return nil, fmt.Errorf("synthweb: %d pages per site, want 2 to 1000", opt.Pages)
	}
	g := &generator{opt: opt, truth: &Truth{Seed: seed}, random: &source{seed}}
	all := sites()
	half := len(all) / 2
	held := g.heldBack(all)
	for i, part := range [][]site{all[:half], all[half:]} {
		path := filepath.Join(dir, "crawl", fmt.Sprintf("part-%d.warc.gz", i))
		if err := g.save(path, func(w *recorder) { g.crawl(w, part) }); err != nil {
			return nil, err
		}
		g.truth.Crawl = append(g.truth.Crawl, path)
	}
	g.truth.HeldBack = filepath.Join(dir, "heldback", "heldback.warc.gz")
	if err := g.save(g.truth.HeldBack, held); err != nil {
		return nil, err
	}
	return g.truth, nil
}

// save writes one WARC file atomically.
func (g *generator) save(path string, fill func(*recorder)) error {
	var buf bytes.Buffer
	w := &recorder{out: warc.NewWriter(&buf), date: g.opt.Date, file: filepath.Base(path)}
	w.record("warcinfo", "", "application/warc-fields", []byte("software: allmend synthweb\r\nformat: WARC File Format 1.1\r\n"))
	fill(w)
	if w.err != nil {
		return fmt.Errorf("synthweb: %s: %w", path, w.err)
	}
	if err := writeFile(path, buf.Bytes()); err != nil {
		return fmt.Errorf("synthweb: %s cannot be written: %w", path, err)
	}
	return nil
}

// writeFile puts data at path so that there is the whole file or none.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// recorder writes WARC records with fixed names and keeps the first error.
type recorder struct {
	out  *warc.Writer
	date string
	file string
	n    int
	err  error
}

func (w *recorder) record(kind, target, contentType string, block []byte) {
	w.n++
	id := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", w.file, w.n, target))
	header := warc.Header{
		{Name: "WARC-Type", Value: kind},
		{Name: "WARC-Record-ID", Value: fmt.Sprintf("<urn:uuid:%x-%x-%x-%x-%x>", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])},
		{Name: "WARC-Date", Value: w.date},
	}
	if target != "" {
		header = append(header, warc.Field{Name: "WARC-Target-URI", Value: target})
	}
	header = append(header, warc.Field{Name: "Content-Type", Value: contentType})
	if err := w.out.Write(header, block); err != nil && w.err == nil {
		w.err = err
	}
}

// response records an HTTP answer. header lines end in CR LF.
func (w *recorder) response(target, status, header string, body []byte) {
	block := fmt.Appendf(nil, "HTTP/1.1 %s\r\n%s\r\n", status, header)
	w.record("response", target, "application/http; msgtype=response", append(block, body...))
}
