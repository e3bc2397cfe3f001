package build

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/allmend-network/allmend/shards/build/robots"
	"github.com/allmend-network/allmend/shards/build/warc"
	"github.com/allmend-network/allmend/verify/digest"
)

// MaxPage bounds a page in bytes; longer ones are dropped.
const MaxPage = 16 << 20

// readWARC yields the documents of a WARC file and reports where it is damaged.
func (s *Source) readWARC(src io.Reader, origin Origin, yield func(*Document) bool) (more bool) {
	more = true
	err := eachRecord(origin.File, src, func(rec *warc.Record) bool {
		if rec.Oversize {
			s.report(origin.File, rec.Position, fmt.Sprintf("record of %d bytes is left out, more than %d", rec.Length, int64(MaxPage)))
			return true
		}
		doc, problem := fromRecord(rec, origin)
		if problem != "" {
			s.report(origin.File, rec.Position, problem)
		}
		if doc == nil {
			return true
		}
		more = yield(doc)
		return more
	})
	var damage *warc.Error
	switch {
	case errors.As(err, &damage):
		what := damage.What
		if damage.Err != nil {
			what += ": " + damage.Err.Error()
		}
		s.report(origin.File, damage.Position, what+"; the records before it were kept")
	case err != nil:
		s.report(origin.File, warc.Position{}, err.Error())
	}
	return more
}

// eachRecord visits the records of a WARC file until visit says no. It returns nil at the end and the reader's error at damage.
func eachRecord(name string, src io.Reader, visit func(*warc.Record) bool) error {
	r, err := warc.NewReader(name, src)
	if err != nil {
		return err
	}
	r.MaxBlock = MaxPage + 1<<16 // the HTTP header is part of the block
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !visit(rec) {
			return nil
		}
	}
}

// fromRecord makes a document of a response, resource or conversion record; other records and robots.txt files are none.
func fromRecord(rec *warc.Record, origin Origin) (doc *Document, problem string) {
	kind, contentType := rec.Type(), rec.Header.Get("Content-Type")
	if kind != "response" && kind != "resource" && kind != "conversion" {
		return nil, ""
	}
	origin.Position, origin.SHA256 = rec.Position, digest.Sum(rec.SHA256)
	target := rec.TargetURI()
	doc = &Document{
		Origin: origin,
		ID:     rec.Header.Get("WARC-Record-ID"),
		URL:    target,
		Host:   hostOf(target),
		Date:   rec.Date(),
	}
	switch {
	case kind == "response" && strings.HasPrefix(strings.ToLower(contentType), "application/http"):
		if _, ok := robotsSite(target); ok {
			return nil, ""
		}
		resp, err := rec.HTTP(MaxPage)
		if err != nil {
			return nil, err.Error()
		}
		doc.Page = &Page{resp.Status, resp.Header, resp.Header.Get("Content-Type"), resp.Body, resp.Damage}
	case kind == "response": // dns: and the like
		return nil, ""
	case kind == "conversion" && strings.HasPrefix(contentType, "text/plain"):
		doc.Text = strings.ToValidUTF8(string(rec.Block), "\uFFFD")
	default:
		doc.Page = &Page{Status: 200, ContentType: contentType, Body: rec.Block}
	}
	return doc, ""
}

// robotsSite is the site that a robots.txt URL speaks for: its host with port, lower case.
func robotsSite(target string) (host string, ok bool) {
	u, err := url.Parse(target)
	if err != nil || u.Path != "/robots.txt" || u.RawQuery != "" || u.Host == "" {
		return "", false
	}
	return strings.ToLower(u.Host), true
}

// RobotsRecord is a site's robots.txt as it was captured.
type RobotsRecord struct {
	Origin Origin
	Date   string     // of capture
	Status int        // of the HTTP answer
	SHA256 digest.Sum // of the file
	file   *robots.File
}

// RobotsIndex is the latest robots.txt of every site in the input.
type RobotsIndex map[string]RobotsRecord

// Robots reads all WARC files once for their robots.txt records. Of several captures of a site the latest counts, of equal
// dates the first in the input. Damage is not reported here: Documents meets it again.
func (s *Source) Robots() (RobotsIndex, error) {
	index := RobotsIndex{}
	for order, in := range s.files {
		if in.format != warcFormat {
			continue
		}
		file, err := os.Open(in.path)
		if err != nil {
			return nil, fmt.Errorf("build: input %s cannot be opened: %w", in.name, err)
		}
		// Damage ends this file's records; Documents reports it.
		_ = eachRecord(in.name, file, func(rec *warc.Record) bool {
			index.add(rec, Origin{File: in.name, Order: order})
			return true
		})
		file.Close()
	}
	return index, nil
}

func (x RobotsIndex) add(rec *warc.Record, origin Origin) {
	host, ok := robotsSite(rec.TargetURI())
	if !ok || rec.Type() != "response" || rec.Oversize {
		return
	}
	if known, ok := x[host]; ok && known.Date >= rec.Date() {
		return
	}
	resp, err := rec.HTTP(4 * robots.MaxBytes)
	if err != nil {
		return
	}
	origin.Position, origin.SHA256 = rec.Position, digest.Sum(rec.SHA256)
	body := bytes.Clone(resp.Body)
	x[host] = RobotsRecord{origin, rec.Date(), resp.Status, digest.Of(body), robots.FromResponse(resp.Status, body)}
}

// RobotsDecision is the verdict on one document and the record it rests on.
type RobotsDecision struct {
	robots.Verdict
	Record RobotsRecord // zero if the site has none
}

// Decide says what the document's site lets crawlers do with its URL. A document without URL or record is Unknown.
func (x RobotsIndex) Decide(doc *Document, agents []string) RobotsDecision {
	record, ok := x[doc.Host]
	if !ok || doc.URL == "" {
		return RobotsDecision{}
	}
	return RobotsDecision{record.file.Decide(doc.URL, agents), record}
}

// Drop turns a refusal into the reason for dropping the document; nil otherwise.
func (d RobotsDecision) Drop() *Drop {
	if d.Outcome != robots.Disallowed {
		return nil
	}
	rule := RuleDisallowed
	if d.Semantics == robots.Usage {
		rule = RuleUsage
	}
	return &Drop{StageRobots, rule, fmt.Sprintf("robots.txt sha256 %s of %s, line %d, agent %s, reading %s: %s",
		d.Record.SHA256, d.Record.Date, d.Line, d.Agent, d.Semantics, d.Rule)}
}
