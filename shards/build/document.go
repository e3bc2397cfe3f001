// Package build is the compliance pipeline: crawls and text files in, token shards out, with a reason for every document kept or dropped.
//
// Each stage is a small pure function of the document: read, robots, extract, opt-out, language, privacy, deduplication,
// tokenize, pack. Nothing depends on time, on the order of goroutines or on where the files lie, so two builders of the
// same input get the same shards.
package build

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/allmend-network/allmend/shards/build/warc"
	"github.com/allmend-network/allmend/verify/digest"
)

// Document is one text or web page of the input.
type Document struct {
	Origin Origin
	ID     string // the source's own name for it: WARC-Record-ID, "id" of a JSONL line, or the file's name
	URL    string // "" if it has none
	Host   string // of the URL with its port, lower case; "" if it has none
	Date   string // when it was fetched, as the source writes it, normally RFC 3339; "" if unknown
	Text   string // of text sources; of pages after Extract
	Page   *Page  // what came over HTTP; nil for text sources
}

// Page is an HTTP answer whose text is still to be extracted.
type Page struct {
	Status      int
	Header      warc.Header
	ContentType string
	Body        []byte // transfer and content encodings undone
	Damage      string // why Body is not whole; "" if it is
}

// Origin is where a document stands in the input.
type Origin struct {
	File  string // slash-separated, beginning with the last element of the path given to Open
	Order int    // place of the file in the input, from 0
	Line  int    // line of a JSONL file, from 1; else 0
	// Position counts bytes of the file; where that is compressed as a whole, Within counts uncompressed bytes.
	warc.Position
	SHA256 digest.Sum // of the record, line or text as it stands there, uncompressed
}

// Compare orders origins by file, then position: -1, 0 or +1.
func (o Origin) Compare(p Origin) int {
	return cmp.Or(cmp.Compare(o.Order, p.Order), o.Position.Compare(p.Position))
}

// Problem is damage in the input that did not stop the reading: what could be read was.
type Problem struct {
	File string
	warc.Position
	What string
}

func (p Problem) String() string { return p.File + ": " + p.Position.String() + ": " + p.What }

// Drop is why a document is left out. A nil *Drop keeps it.
type Drop struct{ Stage, Rule, Evidence string }

// The stages, in the order in which they are applied.
const (
	StageRead     = "read"
	StageRobots   = "robots"
	StageExtract  = "extract"
	StageOptOut   = "opt-out"
	StageLanguage = "language"
	StagePrivacy  = "privacy"
	StageDedup    = "dedup"
)

// The rules by which documents are dropped, by stage.
const (
	RuleStatus      = "http-status"       // read: the answer was not 200
	RuleContentType = "content-type"      // read: neither HTML nor plain text
	RuleTooLong     = "too-long"          // read: over MaxPage
	RuleDamaged     = "damaged"           // read: the body is not whole
	RuleDisallowed  = "disallowed"        // robots: refused to crawlers
	RuleUsage       = "content-usage"     // robots and opt-out: train-ai=n
	RuleHTML        = "html"              // extract: cannot be parsed
	RuleEmpty       = "empty"             // extract: no text
	RuleMeta        = "meta-noai"         // opt-out: <meta name="robots" content="noai">
	RuleHeader      = "x-robots-tag-noai" // opt-out: the same as a header
	RuleTDM         = "tdm-reservation"   // opt-out: TDMRep, header or meta
	RuleDuplicate   = "same-text"         // dedup: an earlier document has the same text
)

// hostOf is the host of a URL with its port, lower case, or "".
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}
