package build

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/allmend-network/allmend/shards/build/robots"
	"github.com/allmend-network/allmend/shards/build/warc"
)

// Licence is a licence statement found on a page: evidence, not a judgement.
type Licence struct {
	URL  string // absolute if the page's own address is known
	SPDX string // identifier for Creative Commons addresses, else ""
	How  string // "rel-license" (a link that says so), "link" (a link to a Creative Commons licence) or "meta"
}

const maxLicences = 32

// licences collects the statements of a page, sorted and each once.
func licences(root *html.Node, base string) []Licence {
	var found []Licence
	add := func(ref, how string) {
		if l, ok := newLicence(ref, base, how); ok && len(found) < maxLicences && !slices.Contains(found, l) {
			found = append(found, l)
		}
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.DataAtom {
		case atom.A, atom.Area, atom.Link:
			href := attr(n, "href")
			if slices.Contains(strings.Fields(strings.ToLower(attr(n, "rel"))), "license") {
				add(href, "rel-license")
			} else if spdxOf(href) != "" {
				add(href, "link")
			}
		case atom.Meta:
			switch strings.ToLower(attr(n, "name") + attr(n, "property")) {
			case "dc.rights", "dc.license", "dcterms.license", "dcterms.rights", "license":
				if strings.Contains(attr(n, "content"), "://") {
					add(attr(n, "content"), "meta")
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b Licence) int {
		return strings.Compare(a.URL+"\x00"+a.How, b.URL+"\x00"+b.How)
	})
	return found
}

func newLicence(ref, base, how string) (Licence, bool) {
	u, err := url.Parse(strings.TrimSpace(ref))
	if err != nil || ref == "" {
		return Licence{}, false
	}
	if b, err := url.Parse(base); err == nil {
		u = b.ResolveReference(u)
	}
	full := u.String()
	if len(full) > 1024 {
		return Licence{}, false
	}
	return Licence{full, spdxOf(full), how}, true
}

// SPDX is the one licence that all statements name, or "" if none does or they differ.
func SPDX(licences []Licence) string {
	one := ""
	for _, l := range licences {
		if l.SPDX != "" && one != "" && l.SPDX != one {
			return ""
		}
		if l.SPDX != "" {
			one = l.SPDX
		}
	}
	return one
}

// spdxOf names the Creative Commons licence that a URL is the address of: ".../licenses/by-sa/4.0/" is CC-BY-SA-4.0.
// Ported versions lose their country, since SPDX knows few of them.
func spdxOf(ref string) string {
	u, err := url.Parse(strings.TrimSpace(ref))
	if err != nil || strings.TrimPrefix(strings.ToLower(u.Host), "www.") != "creativecommons.org" {
		return ""
	}
	part := strings.Split(strings.ToLower(strings.Trim(u.Path, "/")), "/")
	if len(part) < 3 {
		return ""
	}
	switch {
	case part[0] == "publicdomain" && part[1] == "zero":
		return "CC0-1.0"
	case part[0] == "publicdomain" && part[1] == "mark":
		return "CC-PDM-1.0"
	case part[0] != "licenses" || !slices.Contains([]string{"1.0", "2.0", "2.5", "3.0", "4.0"}, part[2]):
		return ""
	}
	switch part[1] {
	case "by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd":
		return "CC-" + strings.ToUpper(part[1]) + "-" + part[2]
	}
	return ""
}

// headerOptOut reads what the HTTP header says against training: X-Robots-Tag noai, Content-Usage train-ai=n, TDMRep.
func headerOptOut(h warc.Header) *Drop {
	for _, v := range h.Values("X-Robots-Tag") {
		if saysNoAI(v) {
			return &Drop{StageOptOut, RuleHeader, fmt.Sprintf("X-Robots-Tag: %.200s", v)}
		}
	}
	if v := strings.Join(h.Values("Content-Usage"), ", "); v != "" {
		if refused, _ := robots.TrainingPreference(v); refused {
			return &Drop{StageOptOut, RuleUsage, fmt.Sprintf("Content-Usage: %.200s", v)}
		}
	}
	if v := h.Get("TDM-Reservation"); v == "1" {
		return &Drop{StageOptOut, RuleTDM, "TDM-Reservation: 1"}
	}
	return nil
}

// metaOptOut reads the same from <meta> elements.
func metaOptOut(root *html.Node) *Drop {
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.DataAtom != atom.Meta {
			continue
		}
		name, content := strings.ToLower(attr(n, "name")), attr(n, "content")
		switch {
		case name == "tdm-reservation" && strings.TrimSpace(content) == "1":
			return &Drop{StageOptOut, RuleTDM, `<meta name="tdm-reservation" content="1">`}
		case (name == "robots" || isAgent(name)) && saysNoAI(content):
			return &Drop{StageOptOut, RuleMeta, fmt.Sprintf("<meta name=%q content=%.200q>", name, content)}
		}
	}
	return nil
}

func isAgent(name string) bool {
	return slices.ContainsFunc(robots.Agents(), func(agent string) bool { return strings.EqualFold(agent, name) })
}

// saysNoAI looks for the directive noai, also behind an agent's name: "noindex, noai", "GPTBot: noai".
func saysNoAI(directives string) bool {
	for _, d := range strings.FieldsFunc(strings.ToLower(directives), func(r rune) bool { return strings.ContainsRune(",;: \t", r) }) {
		if d == "noai" {
			return true
		}
	}
	return false
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
