package build

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/markusmobius/go-trafilatura"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

const (
	maxNodes        = 500_000 // of a page; more are dropped
	maxArticleNodes = 50_000  // pages with more go to the simple extractor: a budget, since time is none
	minArticle      = 100     // characters of visible text under which an article extractor has nothing to decide
)

// Extraction is what a page says.
type Extraction struct {
	Title    string
	Text     string // paragraphs and lines divided by "\n"
	Method   string // "article", "visible" or "plain"
	Licences []Licence
	OptOut   *Drop // what the page itself says against training; nil if nothing
}

// Admissible gives the reason why a document cannot be a text at all: not 200, not HTML or plain text, too long, damaged.
func Admissible(doc *Document) *Drop {
	p := doc.Page
	switch {
	case p == nil:
		return nil
	case p.Status != 200:
		return &Drop{StageRead, RuleStatus, fmt.Sprintf("HTTP status %d", p.Status)}
	case pageKind(p) == "":
		return &Drop{StageRead, RuleContentType, fmt.Sprintf("content type %.80q", p.ContentType)}
	case len(p.Body) >= MaxPage:
		return &Drop{StageRead, RuleTooLong, fmt.Sprintf("%d bytes or more", MaxPage)}
	case p.Damage != "":
		return &Drop{StageRead, RuleDamaged, p.Damage}
	}
	return nil
}

// pageKind is "html", "plain" or "".
func pageKind(p *Page) string {
	media, _, _ := strings.Cut(strings.ToLower(p.ContentType), ";")
	switch strings.TrimSpace(media) {
	case "text/html", "application/xhtml+xml":
		return "html"
	case "text/plain":
		return "plain"
	case "":
		head := bytes.ToLower(p.Body[:min(len(p.Body), 1024)])
		if bytes.Contains(head, []byte("<html")) || bytes.Contains(head, []byte("<!doctype html")) {
			return "html"
		}
	}
	return ""
}

// Extract turns the page of an admissible document into text, and collects what it says about licence and training. Text
// sources are taken as they are. The same bytes give the same text: there is no time limit, only budgets.
func Extract(doc *Document) (Extraction, *Drop) {
	if doc.Page == nil {
		return plainText(doc.Text)
	}
	optOut := headerOptOut(doc.Page.Header)
	body, err := toUTF8(doc.Page.Body, doc.Page.ContentType)
	if err != nil {
		return Extraction{OptOut: optOut}, &Drop{StageExtract, RuleHTML, "character set: " + err.Error()}
	}
	if pageKind(doc.Page) == "plain" {
		x, drop := plainText(string(body))
		x.OptOut = optOut
		return x, drop
	}
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return Extraction{OptOut: optOut}, &Drop{StageExtract, RuleHTML, err.Error()}
	}
	nodes := 0
	for range root.Descendants() {
		nodes++
	}
	if nodes > maxNodes {
		return Extraction{OptOut: optOut}, &Drop{StageExtract, RuleHTML, fmt.Sprintf("%d nodes, more than %d", nodes, maxNodes)}
	}
	x := Extraction{Title: title(root), Licences: licences(root, doc.URL), OptOut: optOut}
	if x.OptOut == nil {
		x.OptOut = metaOptOut(root)
	}
	x.Text, x.Method = visibleText(root), "visible"
	if nodes <= maxArticleNodes && utf8.RuneCountInString(x.Text) >= minArticle {
		removeMenus(root) // the library takes their options for prose
		if text := articleText(root, doc.URL); text != "" {
			x.Text, x.Method = text, "article"
		}
	}
	if x.Text == "" {
		return x, &Drop{StageExtract, RuleEmpty, "no visible text"}
	}
	return x, nil
}

// toUTF8 decodes a page: by its byte order mark, its header or its <meta> if one of these names a character set, else as
// UTF-8 if it is that, else as the WHATWG guesses.
func toUTF8(body []byte, contentType string) ([]byte, error) {
	encoding, name, certain := charset.DetermineEncoding(body[:min(len(body), 1024)], contentType)
	if name != "utf-8" && (certain || !utf8.Valid(body)) {
		decoded, err := encoding.NewDecoder().Bytes(body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		body = decoded
	}
	return bytes.TrimPrefix(bytes.ToValidUTF8(body, []byte("\uFFFD")), []byte("\uFEFF")), nil
}

func plainText(text string) (Extraction, *Drop) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\uFEFF"))
	if text == "" {
		return Extraction{Method: "plain"}, &Drop{StageExtract, RuleEmpty, "no text"}
	}
	return Extraction{Text: text, Method: "plain"}, nil
}

// articleText is the main content by go-trafilatura's rules, or "" if it finds none. The library is written for pages as
// they are; a page that makes it panic is one without an article.
func articleText(root *html.Node, rawURL string) (text string) {
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	options := trafilatura.Options{
		ExcludeComments: true,
		HtmlDateMode:    trafilatura.Disabled, // dates come from the crawl, and guessing them looks at the clock
	}
	if u, err := url.Parse(rawURL); err == nil && u.Host != "" {
		options.OriginalURL = u
	}
	result, err := trafilatura.ExtractDocument(root, options)
	if err != nil || result.ContentNode == nil {
		return ""
	}
	return visibleText(result.ContentNode)
}

// removeMenus takes drop-down menus and input fields out of the page.
func removeMenus(root *html.Node) {
	var menus []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && (n.DataAtom == atom.Select || n.DataAtom == atom.Textarea) {
			menus = append(menus, n)
		}
	}
	for _, n := range menus {
		if n.Parent != nil {
			n.Parent.RemoveChild(n)
		}
	}
}

// title is the text of the first <title>.
func title(root *html.Node) string {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.DataAtom == atom.Title {
			return visibleText(n)
		}
	}
	return ""
}

// visibleText is what a reader sees: text outside scripts and styles, blanks as one space, a "\n" where a block begins or ends.
func visibleText(root *html.Node) string {
	var w textWriter
	w.walk(root, root)
	return strings.TrimSpace(w.out.String())
}

// textWriter collapses blanks while it writes.
type textWriter struct {
	out   strings.Builder
	space bool // a blank is owed before the next word
	line  bool // a line end is owed
}

func (w *textWriter) walk(n, root *html.Node) {
	switch n.Type {
	case html.TextNode:
		w.text(n.Data)
		return
	case html.ElementNode:
		if isHidden(n) && n != root {
			return
		}
	}
	block := n.Type == html.ElementNode && isBlock(tag(n))
	w.line = w.line || block
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		w.walk(c, root)
	}
	w.line = w.line || block
}

func (w *textWriter) text(s string) {
	for i, word := range strings.Fields(s) {
		if i > 0 || strings.HasPrefix(s, " ") || strings.TrimLeft(s, " \t\r\n\f") != s {
			w.space = true
		}
		if w.out.Len() > 0 {
			if w.line {
				w.out.WriteByte('\n')
			} else if w.space {
				w.out.WriteByte(' ')
			}
		}
		w.out.WriteString(word)
		w.space, w.line = false, false
	}
	if strings.TrimRight(s, " \t\r\n\f") != s {
		w.space = true
	}
}

// tag looks the element's name up anew: nodes made by the extractor carry no atom.
func tag(n *html.Node) atom.Atom { return atom.Lookup([]byte(n.Data)) }

func isHidden(n *html.Node) bool {
	switch tag(n) {
	case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Head, atom.Iframe, atom.Object, atom.Svg, atom.Select, atom.Textarea:
		return true
	}
	for _, a := range n.Attr {
		if a.Key == "hidden" {
			return true
		}
	}
	return false
}

func isBlock(a atom.Atom) bool {
	switch a {
	case atom.Address, atom.Article, atom.Aside, atom.Blockquote, atom.Body, atom.Br, atom.Caption, atom.Dd, atom.Details, atom.Div,
		atom.Dl, atom.Dt, atom.Fieldset, atom.Figcaption, atom.Figure, atom.Footer, atom.Form, atom.H1, atom.H2, atom.H3, atom.H4,
		atom.H5, atom.H6, atom.Header, atom.Hr, atom.Li, atom.Main, atom.Nav, atom.Ol, atom.Option, atom.P, atom.Pre, atom.Section,
		atom.Summary, atom.Table, atom.Td, atom.Th, atom.Title, atom.Tr, atom.Ul:
		return true
	}
	return false
}
