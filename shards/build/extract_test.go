package build

import (
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards/build/warc"
)

func htmlPage(header, body string) *Document {
	p := &Page{Status: 200, ContentType: "text/html; charset=utf-8", Body: []byte(body)}
	for _, line := range strings.Split(header, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			p.Header = append(p.Header, warc.Field{Name: name, Value: value})
		}
	}
	return &Document{URL: "https://alp.example/a/b.html", Page: p}
}

func TestAdmissible(t *testing.T) {
	for _, c := range []struct {
		page Page
		rule string
	}{
		{Page{Status: 200, ContentType: "text/html"}, ""},
		{Page{Status: 200, ContentType: "TEXT/HTML; charset=x"}, ""},
		{Page{Status: 200, ContentType: "text/plain"}, ""},
		{Page{Status: 200, Body: []byte("<!DOCTYPE html>")}, ""},
		{Page{Status: 200, Body: []byte("hello")}, RuleContentType},
		{Page{Status: 200, ContentType: "image/png"}, RuleContentType},
		{Page{Status: 301, ContentType: "text/html"}, RuleStatus},
		{Page{Status: 200, ContentType: "text/html", Damage: "cut"}, RuleDamaged},
		{Page{Status: 200, ContentType: "text/html", Body: make([]byte, MaxPage)}, RuleTooLong},
	} {
		drop := Admissible(&Document{Page: &c.page})
		if (drop == nil) != (c.rule == "") || drop != nil && (drop.Rule != c.rule || drop.Evidence == "") {
			t.Errorf("%d %q: %+v, want %q", c.page.Status, c.page.ContentType, drop, c.rule)
		}
	}
}

func TestVisibleText(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"<title>T</title><p>Hoi <b>zä</b>me<p>zwei\n drei", "Hoi zäme\nzwei drei"},
		{"a<script>x()</script><style>y</style><template>z</template>b", "ab"},
		{"<ul><li>eins<li>zwei</ul>drei<br>vier", "eins\nzwei\ndrei\nvier"},
		{"<p hidden>nein</p><p> ja </p>", "ja"},
		{"<p>a&nbsp;&amp;&lt;b", "a &<b"},
		{"<table><tr><td>1</td><td>2</td></tr></table>", "1\n2"},
	} {
		x, drop := Extract(htmlPage("", c.body))
		if drop != nil || x.Text != c.want || x.Method != "visible" {
			t.Errorf("%q: %q by %s, %+v, want %q", c.body, x.Text, x.Method, drop, c.want)
		}
	}
	if _, drop := Extract(htmlPage("", "<html><script>x</script>")); drop == nil || drop.Rule != RuleEmpty {
		t.Errorf("empty page: %+v", drop)
	}
}

func TestArticleLeavesFurnitureOut(t *testing.T) {
	sentence := "The villagers share the water of the commons, and everyone writes it in the book. "
	body := "<title>Water</title><nav><ul><li><a href=/>Home</a><li><a href=/n>News</a></ul></nav><main><article><h1>Water</h1><p>" +
		strings.Repeat(sentence, 5) + "</p><p>" + strings.Repeat(sentence, 5) + "</p></article></main><footer>All visitors are welcome</footer>"
	x, drop := Extract(htmlPage("", body))
	if drop != nil || x.Method != "article" || x.Title != "Water" || strings.Contains(x.Text, "Home") || strings.Contains(x.Text, "visitors") ||
		strings.Count(x.Text, "\n") != 2 || strings.Count(x.Text, "commons") != 10 {
		t.Errorf("%+v %+v", x, drop)
	}
}

func TestCharsets(t *testing.T) {
	for name, c := range map[string]struct{ contentType, body string }{
		"header":  {"text/html; charset=windows-1251", "<p>\xcf\xf0\xe8\xe2\xe5\xf2"},
		"meta":    {"text/html", "<meta charset=windows-1251><p>\xcf\xf0\xe8\xe2\xe5\xf2"},
		"utf-8":   {"text/html", "<meta charset=utf-8><p>Привет"},
		"none":    {"text/html", strings.Repeat("<!-- -->", 200) + "<p>Привет"},
		"plain":   {"text/plain; charset=windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2"},
		"unknown": {"text/html; charset=klingon", "<meta charset=utf-8><p>Привет"},
	} {
		doc := htmlPage("", c.body)
		doc.Page.ContentType = c.contentType
		if x, drop := Extract(doc); drop != nil || x.Text != "Привет" {
			t.Errorf("%s: %q %+v", name, x.Text, drop)
		}
	}
}

func TestOptOuts(t *testing.T) {
	for _, c := range []struct{ header, head, rule string }{
		{"", "", ""},
		{"X-Robots-Tag: noindex", "<meta name=robots content='noindex, nofollow'>", ""},
		{"X-Robots-Tag: noai, noimageai", "", RuleHeader},
		{"X-Robots-Tag: noindex\nX-Robots-Tag: GPTBot: NoAI", "", RuleHeader},
		{"Content-Usage: search=y, train-ai=n", "", RuleUsage},
		{"Content-Usage: train-ai=y", "", ""},
		{"TDM-Reservation: 1", "", RuleTDM},
		{"TDM-Reservation: 0", "", ""},
		{"", "<meta name='ROBOTS' content='index,NOAI'>", RuleMeta},
		{"", "<meta name='gptbot' content='noai'>", RuleMeta},
		{"", "<meta name='keywords' content='noai'>", ""},
		{"", "<meta name='tdm-reservation' content='1'>", RuleTDM},
	} {
		x, drop := Extract(htmlPage(c.header, c.head+"<p>Hoi"))
		if drop != nil || (x.OptOut == nil) != (c.rule == "") || x.OptOut != nil && (x.OptOut.Rule != c.rule || x.OptOut.Stage != StageOptOut) {
			t.Errorf("%q %q: %+v, want %q", c.header, c.head, x.OptOut, c.rule)
		}
	}
	plain := htmlPage("X-Robots-Tag: noai", "Hoi")
	plain.Page.ContentType = "text/plain"
	if x, _ := Extract(plain); x.OptOut == nil {
		t.Error("plain text with X-Robots-Tag: noai was not seen")
	}
}

func TestLicences(t *testing.T) {
	for _, c := range []struct{ body, url, spdx string }{
		{`<a rel="license nofollow" href="http://www.creativecommons.org/licenses/by-sa/3.0/de/">`, "http://www.creativecommons.org/licenses/by-sa/3.0/de/", "CC-BY-SA-3.0"},
		{`<a href="https://creativecommons.org/publicdomain/zero/1.0/">`, "https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"},
		{`<a rel=license href="/terms">`, "https://alp.example/terms", ""},
		{`<link rel=license href="../l">`, "https://alp.example/l", ""},
		{`<meta name="DC.rights" content="https://creativecommons.org/licenses/by-nc/4.0/">`, "https://creativecommons.org/licenses/by-nc/4.0/", "CC-BY-NC-4.0"},
		{`<a href="https://creativecommons.org/about/">about</a> CC BY 4.0`, "", ""},
		{`<a href="https://example.org/licenses/by/4.0/">`, "", ""},
	} {
		x, _ := Extract(htmlPage("", c.body+"<p>Hoi"))
		switch {
		case c.url == "" && len(x.Licences) == 0:
		case len(x.Licences) != 1 || x.Licences[0].URL != c.url || SPDX(x.Licences) != c.spdx:
			t.Errorf("%s: %+v", c.body, x.Licences)
		}
	}
	two := []Licence{{SPDX: "CC-BY-4.0"}, {SPDX: "CC-BY-SA-4.0"}}
	if SPDX(two) != "" || SPDX(two[:1]) != "CC-BY-4.0" || SPDX(nil) != "" {
		t.Error("SPDX of differing statements")
	}
}

func TestIdentify(t *testing.T) {
	for _, c := range []struct{ text, code, script string }{
		{"Im Frühling teilen die Leute das Wasser am Fluss, weil der Berg niemandem allein gehört.", "deu", "Latin"},
		{"Весной жители делят воду у реки, потому что гора не принадлежит никому одному. Молодая учительница рассказывает сказки, и каждый пишет об этом в книгу, чтобы ничего не пропало.", "rus", "Cyrillic"},
		{"公地是大家使用而没有人出卖的土地。", "cmn", "Han"},
		{"むらのひとびとはみずをわけあう。", "jpn", "Hiragana"},
		{"12345 ...", "und", ""},
		{"", "und", ""},
	} {
		if got := Identify(c.text); got.Code != c.code || got.Script != c.script || got.Confidence < 0 || got.Confidence > 1 {
			t.Errorf("%q: %+v", c.text, got)
		}
	}
	for range 50 { // the library walks a map; its answer must not hang on that
		if a, b := Identify("a b c d e"), Identify("a b c d e"); a != b {
			t.Fatalf("%+v and %+v for one text", a, b)
		}
	}
}

func TestTextDigest(t *testing.T) {
	if TextDigest(" Zürich\t\nist  schön ") != TextDigest("Zu\u0308rich ist schön") {
		t.Error("blanks or the spelling of ü matter")
	}
	if TextDigest("a b") == TextDigest("ab") {
		t.Error("blanks do not matter at all")
	}
	seen := Seen{}
	sum := TextDigest("x")
	if seen.Add(sum, Origin{File: "a"}) != nil {
		t.Error("the first was dropped")
	}
	if drop := seen.Add(sum, Origin{File: "b"}); drop == nil || !strings.Contains(drop.Evidence, "first in a at byte 0") {
		t.Errorf("the second: %+v", drop)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("<title>T</title><p>Hoi", "X-Robots-Tag: noai")
	f.Add(strings.Repeat("<div>", 600)+"tief", "Content-Usage: train-ai=n")
	f.Add("<table><a rel=license href='//x'><svg><p>"+strings.Repeat("viel Text. ", 30), "")
	f.Fuzz(func(t *testing.T, body, header string) {
		doc := htmlPage(header, body)
		a, dropA := Extract(doc)
		b, dropB := Extract(doc)
		if a.Text != b.Text || (dropA == nil) != (dropB == nil) {
			t.Fatalf("two extractions differ: %q and %q", a.Text, b.Text)
		}
		if dropA == nil && strings.TrimSpace(a.Text) == "" {
			t.Fatal("a page without text was kept")
		}
	})
}
