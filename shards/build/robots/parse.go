package robots

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads a robots.txt. It cannot fail: what is not understood is ignored, as both parsers do; what lies beyond
// MaxBytes is not looked at.
func Parse(body []byte) *File {
	body = body[:min(len(body), MaxBytes)]
	for _, b := range []byte{0xEF, 0xBB, 0xBF} { // a byte order mark, or its beginning
		if len(body) == 0 || body[0] != b {
			break
		}
		body = body[1:]
	}
	p := parser{file: &File{}}
	for number := 1; len(body) > 0 && number <= maxLines; number++ {
		var line []byte
		line, body = cutLine(body)
		p.line(number, line)
	}
	return p.file
}

// parser turns lines into groups. User-agent lines in a row share the rules that follow; for Google a row ends at an Allow
// or Disallow line, for Protego at any other line with a key (a Crawl-delay, say).
type parser struct {
	file    *File
	google  row
	protego row
}

// row is a row of user-agent lines: the groups from first on.
type row struct {
	first int
	open  bool // the next user-agent line belongs to it
}

func (r *row) extend(groups int) {
	if !r.open {
		r.first, r.open = groups, true
	}
}

func (p *parser) line(number int, raw []byte) {
	if i := bytes.IndexByte(raw, '#'); i >= 0 {
		raw = raw[:i]
	}
	text := strings.TrimSpace(string(raw))
	key, value, ok := splitLine(text)
	if !ok {
		return
	}
	kind := directive(key)
	if kind != "user-agent" {
		p.protego.open = false
	}
	switch kind {
	case "user-agent":
		p.google.extend(len(p.file.groups))
		p.protego.extend(len(p.file.groups))
		p.userAgent(value)
	case "allow", "disallow":
		p.google.open = false
		if value == "" {
			return
		}
		value = value[:min(len(value), maxPattern)]
		r := rule{allow: kind == "allow", written: escape(value), quoted: quotePattern(value), line: number, text: text}
		if i := strings.LastIndexByte(value, '/'); r.allow && i >= 0 {
			r.index = strings.HasPrefix(value[i:], "/index.htm")
		}
		for i := p.google.first; i < len(p.file.groups); i++ {
			p.file.groups[i].google = append(p.file.groups[i].google, r)
		}
		for i := p.protego.first; i < len(p.file.groups); i++ {
			p.file.groups[i].protego = append(p.file.groups[i].protego, r)
		}
	case "content-usage":
		p.google.open = false
		p.usage(number, text, value)
	}
}

func (p *parser) userAgent(value string) {
	lower := strings.ToLower(value)
	if lower == "" {
		return
	}
	fields := strings.Fields(lower)
	g := group{product: productToken(lower), name: lower, global: fields[0] == "*"}
	p.file.groups = append(p.file.groups, g)
	if bare := strings.ReplaceAll(lower, "*", ""); lower != "*" && bare != lower && bare != "" {
		// Protego is generous with stars in names: it takes them away. Google has no use for this second group.
		p.file.groups = append(p.file.groups, group{name: bare})
	}
}

// usage parses "[path] preferences", where preferences is a dictionary such as "train-ai=n, search=y".
func (p *parser) usage(number int, text, value string) {
	path := "/"
	if strings.HasPrefix(value, "/") {
		var found bool
		if path, value, found = strings.Cut(value, " "); !found {
			return
		}
	}
	refused, known := TrainingPreference(value)
	if !known {
		return
	}
	r := rule{allow: !refused, written: escape(path[:min(len(path), maxPattern)]), line: number, text: text}
	for i := p.google.first; i < len(p.file.groups); i++ {
		p.file.groups[i].usage = append(p.file.groups[i].usage, r)
	}
}

// TrainingPreference reads train-ai from a Content-Usage dictionary (AIPREF vocabulary, draft of 2026-08), whether from
// robots.txt or from a header. Only y and n count; of repeated keys the last holds.
func TrainingPreference(dictionary string) (refused, known bool) {
	for _, member := range strings.Split(dictionary, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if key != "train-ai" {
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		value = strings.TrimSpace(value)
		refused, known = value == "n", value == "n" || value == "y"
	}
	return refused, known
}

// splitLine cuts "key: value", or "key value" where the colon is missing and exactly two words stand there.
func splitLine(text string) (key, value string, ok bool) {
	if key, value, ok = strings.Cut(text, ":"); ok {
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		return key, value, key != ""
	}
	words := strings.Fields(text)
	if len(words) == 2 {
		return words[0], words[1], true
	}
	return "", "", false
}

// directive names what a key stands for, with the misspellings both parsers accept; "" for anything else.
func directive(key string) string {
	key = strings.ToLower(key)
	for _, d := range []struct{ prefix, name string }{
		{"user-agent", "user-agent"}, {"useragent", "user-agent"}, {"user agent", "user-agent"},
		{"allow", "allow"},
		{"disallow", "disallow"}, {"dissallow", "disallow"}, {"dissalow", "disallow"}, {"disalow", "disallow"},
		{"diasllow", "disallow"}, {"disallaw", "disallow"},
		{"content-usage", "content-usage"},
	} {
		if strings.HasPrefix(key, d.prefix) {
			return d.name
		}
	}
	return ""
}

// productToken is the letters, digits, '-' and '_' at the start, lower case. RFC 9309 knows no digits in it, but real
// agents have them (AI2Bot).
func productToken(agent string) string {
	end := strings.IndexFunc(agent, func(r rune) bool {
		return r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_'
	})
	if end < 0 {
		end = len(agent)
	}
	return strings.ToLower(agent[:end])
}

// cutLine takes one line off, ended by LF, CR or CR LF.
func cutLine(body []byte) (line, rest []byte) {
	end := bytes.IndexAny(body, "\r\n")
	if end < 0 {
		return body, nil
	}
	if body[end] == '\r' && end+1 < len(body) && body[end+1] == '\n' {
		return body[:end], body[end+2:]
	}
	return body[:end], body[end+1:]
}
