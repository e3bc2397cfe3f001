package synthweb

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
)

// generator makes pages in a fixed order from one stream of numbers.
type generator struct {
	opt     Options
	truth   *Truth
	random  *source
	planted int // things planted so far; it makes each value different
}

// article is the part of a page that is its own.
type article struct {
	title      string
	paragraphs []string
}

func (g *generator) article(l *lexicon) article {
	a := article{title: pick(g.random, l.topics)}
	for range 4 + g.random.intn(3) {
		a.paragraphs = append(a.paragraphs, l.paragraphOf(g.random, 4+g.random.intn(3)))
	}
	return a
}

// crawl records the robots.txt, the ordinary pages and the special pages of some sites.
func (g *generator) crawl(w *recorder, part []site) {
	for i, s := range part {
		g.truth.Sites = append(g.truth.Sites, s.truth())
		if i%2 == 0 {
			w.robots(s)
		}
		g.pages(w, s)
		if i%2 == 1 { // some crawlers fetch it late; who decides while reading once gets these wrong
			w.robots(s)
		}
	}
}

func (g *generator) pages(w *recorder, s site) {
	l := lexiconOf(s.language)
	first := make([]article, 0, 2)
	for i := range g.opt.Pages {
		path := fmt.Sprintf("/pages/%d.html", i+1)
		a := g.article(l)
		page := Page{URL: s.url(path), Language: s.language, Outcome: Kept}
		if s.refused {
			page = Page{page.URL, s.language, Dropped, "robots", "disallowed"}
		} else if i%3 < 2 {
			g.plant(&a, l, page.URL)
		}
		if len(first) < 2 {
			first = append(first, a)
		}
		g.truth.Pages = append(g.truth.Pages, page)
		w.page(s, path, "", l.render(s, a, "", g.opt.Pages))
		if s.refused && i == 3 {
			return // enough to show it
		}
	}
	for i, sp := range s.special {
		a := g.article(l)
		if sp.how == "duplicate" {
			a = first[i%2]
		}
		g.truth.Pages = append(g.truth.Pages, Page{s.url(sp.path), s.language, Dropped, sp.stage, sp.rule})
		g.special(w, s, l, sp, a)
	}
}

func (g *generator) special(w *recorder, s site, l *lexicon, sp special, a article) {
	header, meta := "", ""
	switch sp.how {
	case "missing":
		w.response(s.url(sp.path), "404 Not Found", "Content-Type: text/html\r\n", []byte("<!DOCTYPE html><title>404</title><p>404"))
		return
	case "image":
		w.response(s.url(sp.path), "200 OK", "Content-Type: image/png\r\n", []byte("\x89PNG\r\n\x1a\n"))
		return
	case "meta":
		meta = `<meta name="robots" content="index, noai, noimageai">`
	case "tdm":
		meta = `<meta name="tdm-reservation" content="1">`
	case "x-robots-tag":
		header = "X-Robots-Tag: noai\r\n"
	case "usage-header":
		header = "Content-Usage: search=y, train-ai=n\r\n"
	case "tdm-header":
		header = "TDM-Reservation: 1\r\n"
	}
	w.page(s, sp.path, header, l.render(s, a, meta, g.opt.Pages))
}

// heldBack makes two pages for each site that is kept, before any other number is drawn, so that they do not depend on
// how many pages the crawl has.
func (g *generator) heldBack(all []site) func(*recorder) {
	type held struct {
		site    site
		path    string
		article article
	}
	var pages []held
	for _, s := range all {
		if s.refused {
			continue
		}
		for i := range 2 {
			path := fmt.Sprintf("/held/%d.html", i+1)
			pages = append(pages, held{s, path, g.article(lexiconOf(s.language))})
			g.truth.Held = append(g.truth.Held, Page{URL: s.url(path), Language: s.language, Outcome: Kept})
		}
	}
	return func(w *recorder) {
		for i, p := range pages {
			if i == 0 || pages[i-1].site.host != p.site.host {
				w.robots(p.site)
			}
			w.page(p.site, p.path, "", lexiconOf(p.site.language).render(p.site, p.article, "", g.opt.Pages))
		}
	}
}

// robots records the site's robots.txt, if it is to have a record.
func (w *recorder) robots(s site) {
	switch s.robots {
	case "":
	case "404":
		w.response(s.url("/robots.txt"), "404 Not Found", "Content-Type: text/html\r\n", []byte("<!DOCTYPE html><title>404</title><p>404"))
	default:
		w.response(s.url("/robots.txt"), "200 OK", "Content-Type: text/plain\r\n", []byte(s.robots))
	}
}

// page records a page in the site's character set and wire encoding.
func (w *recorder) page(s site, path, header, text string) {
	body := []byte(text)
	if m := charmapOf(s.charset); m != nil {
		encoded, err := encoding.HTMLEscapeUnsupported(m.NewEncoder()).Bytes(body)
		if err != nil && w.err == nil {
			w.err = err
		}
		body = encoded
	}
	name := s.charset
	if name == "" {
		name = "utf-8"
	}
	header = "Server: allmend\r\nContent-Type: text/html; charset=" + name + "\r\n" + header
	switch s.encoding {
	case "gzip":
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(body) // a bytes.Buffer takes everything
		if err := z.Close(); err != nil && w.err == nil {
			w.err = err
		}
		body = out.Bytes()
		header += "Content-Encoding: gzip\r\n"
	case "chunked":
		var out bytes.Buffer
		for len(body) > 0 {
			n := min(len(body), 1000)
			fmt.Fprintf(&out, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		out.WriteString("0\r\n\r\n")
		body = out.Bytes()
		header += "Transfer-Encoding: chunked\r\n"
	}
	w.response(s.url(path), "200 OK", header, body)
}

func charmapOf(name string) *charmap.Charmap {
	switch name {
	case "iso-8859-1":
		return charmap.ISO8859_1
	case "windows-1251":
		return charmap.Windows1251
	}
	return nil
}

// render makes the HTML of a page: head, navigation, article, sidebar, footer.
func (l *lexicon) render(s site, a article, meta string, pages int) string {
	var b strings.Builder
	direction := "ltr"
	if l.rtl {
		direction = "rtl"
	}
	charset := s.charset
	if charset == "" {
		charset = "utf-8"
	}
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=%q dir=%q>\n<head>\n<meta charset=%q>\n<title>%s</title>\n", l.html, direction, charset, html.EscapeString(a.title))
	if meta != "" {
		b.WriteString(meta + "\n")
	}
	b.WriteString("<style>body{max-width:40em}</style>\n<script>window.page = {\"menu\": true};</script>\n</head>\n<body>\n<header><nav><ul>\n")
	for i, item := range l.nav {
		fmt.Fprintf(&b, "<li><a href=\"/pages/%d.html\">%s</a></li>\n", i%pages+1, html.EscapeString(item))
	}
	fmt.Fprintf(&b, "</ul></nav></header>\n<main><article>\n<h1>%s</h1>\n", html.EscapeString(a.title))
	for _, p := range a.paragraphs {
		fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(p))
	}
	b.WriteString("</article></main>\n<footer><p>" + html.EscapeString(l.footer) + "</p>\n")
	if s.licence != "" {
		fmt.Fprintf(&b, "<p><a rel=\"license\" href=%q>%s</a></p>\n", s.licence, html.EscapeString(l.licence))
	}
	b.WriteString("</footer>\n</body>\n</html>\n")
	return b.String()
}
