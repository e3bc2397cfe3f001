package build

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/build/privacy"
	"github.com/allmend-network/allmend/shards/build/robots"
	"github.com/allmend-network/allmend/verify/digest"
)

// Bounds of a batch: what is held in memory while its documents are worked on in parallel.
const (
	batchDocuments = 256
	batchBytes     = 64 << 20
)

// judged is a document with the answers of the stages that look at it alone.
type judged struct {
	doc      *Document
	robots   RobotsDecision
	page     Extraction
	text     string // masked
	pii      privacy.Counts
	language Language
	same     digest.Sum // what Seen compares
	drop     *Drop
}

// assess applies the stages up to deduplication, which needs the documents before it.
func assess(doc *Document, index RobotsIndex, agents []string) judged {
	j := judged{doc: doc, robots: index.Decide(doc, agents)}
	if j.drop = Admissible(doc); j.drop != nil {
		return j
	}
	if j.drop = j.robots.Drop(); j.drop != nil {
		return j
	}
	if j.page, j.drop = Extract(doc); j.drop != nil {
		return j
	}
	if j.drop = j.page.OptOut; j.drop != nil {
		return j
	}
	j.language = Identify(j.page.Text)
	masked, pii := privacy.Mask(j.page.Text)
	j.text, j.pii = strings.ToValidUTF8(masked, "\uFFFD"), pii
	j.same = TextDigest(j.page.Text)
	return j
}

// read takes every document of the input through the stages: those kept go to the spool, the others to the dropped file.
func (b *builder) read(ctx context.Context) error {
	index, err := b.src.Robots()
	if err != nil {
		return err
	}
	dropped, err := newTable[shards.Dropped](b.temp, droppedName)
	if err != nil {
		return err
	}
	defer dropped.abandon()
	seen := Seen{}
	agents := robots.Agents()
	var batch []*Document
	bytes := 0
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, j := range parallel(batch, func(doc *Document) judged { return assess(doc, index, agents) }) {
			if err := b.settle(j, seen, dropped); err != nil {
				return err
			}
		}
		batch, bytes = batch[:0], 0
		b.Progress("read", b.report.Read)
		return nil
	}
	for doc, err := range b.src.Documents() {
		if err != nil {
			return err
		}
		batch = append(batch, doc)
		bytes += len(doc.Text)
		if doc.Page != nil {
			bytes += len(doc.Page.Body)
		}
		if len(batch) >= batchDocuments || bytes >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return dropped.finish()
}

// settle keeps or drops one document; documents come in the order of the input.
func (b *builder) settle(j judged, seen Seen, dropped *table[shards.Dropped]) error {
	b.report.Read++
	b.report.Robots[j.robots.Outcome.String()]++
	if j.drop == nil {
		j.drop = seen.Add(j.same, j.doc.Origin)
	}
	b.Decided(j.doc, j.drop)
	if j.drop != nil {
		b.counts.drop(*j.drop)
		return dropped.Write(b.droppedRow(j))
	}
	b.report.PII = b.report.PII.Add(j.pii)
	return b.spool.add(documentRow(j), b.Seed)
}

func (b *builder) droppedRow(j judged) shards.Dropped {
	row := shards.Dropped{
		Stage: j.drop.Stage, Rule: j.drop.Rule, Evidence: plain(j.drop.Evidence), Host: plain(j.doc.Host),
		SourceFile: plain(j.doc.Origin.File), SourceOffset: j.doc.Origin.Offset, SourceWithin: j.doc.Origin.Within,
	}
	if j.doc.URL != "" {
		row.PathHash = shards.PathHash(b.Salt, pathOf(j.doc.URL))
	}
	return row
}

// pathOf is the path and query of a URL, or all of what is none.
func pathOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL
	}
	return u.RequestURI()
}

func documentRow(j judged) shards.Document {
	return shards.Document{
		Text: j.text, SHA256: digest.Of([]byte(j.text)).String(),
		URL: plain(j.doc.URL), Domain: plain(j.doc.Host), Date: plain(j.doc.Date), Licence: SPDX(j.page.Licences),
		Language: j.language.Code, Script: j.language.Script, LanguageConfidence: j.language.Confidence,
		Robots: j.robots.Outcome.String(), RobotsSHA256: robotsDigest(j.robots), RobotsEvidence: plain(robotsEvidence(j.robots)),
		PIIEmail: int32(j.pii.Email), PIIIP: int32(j.pii.IP), PIIIBAN: int32(j.pii.IBAN),
		SourceFile: plain(j.doc.Origin.File), SourceOffset: j.doc.Origin.Offset, SourceWithin: j.doc.Origin.Within,
		SourceSHA256: j.doc.Origin.SHA256.String(),
	}
}

func robotsDigest(d RobotsDecision) string {
	if d.Record.SHA256.IsZero() {
		return ""
	}
	return d.Record.SHA256.String()
}

// robotsEvidence says where the robots.txt that decided stands in the input.
func robotsEvidence(d RobotsDecision) string {
	if d.Record.SHA256.IsZero() {
		return "no record of the site's robots.txt"
	}
	return fmt.Sprintf("robots.txt of %s, HTTP status %d, %s at %s", d.Record.Date, d.Record.Status, d.Record.Origin.File, d.Record.Origin.Position)
}

// plain makes text from a crawl fit for a table: valid UTF-8.
func plain(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// parallel gives work(x) for every x of in, in order.
func parallel[In, Out any](in []In, work func(In) Out) []Out {
	out := make([]Out, len(in))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(in), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(in)); i = next.Add(1) - 1 {
				out[i] = work(in[i])
			}
		})
	}
	wg.Wait()
	return out
}
