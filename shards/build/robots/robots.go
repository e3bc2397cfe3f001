// Package robots is a site's robots.txt: parsed once, then asked which URLs AI crawlers may take, with the deciding line as evidence.
//
// The two parsers in wide use disagree on about one verdict in sixty: Google's (RFC 9309) and Protego, which Apertus used.
// A URL is disallowed when either of them disallows it for any of the agents asked about, or when an AIPREF
// Content-Usage line says train-ai=n; the verdict tells which.
package robots

import (
	"strings"
)

// MaxBytes is how much of a file is looked at, as Google does.
const MaxBytes = 500 << 10

const (
	maxLines   = 20_000
	maxPattern = 4096 // bytes of one rule; longer rules are cut there
)

// Agents is the agents Apertus asked about (2509.14233, appendix A, and its code), in the order in which they are reported.
func Agents() []string {
	return []string{
		"AI2Bot", "Applebot-Extended", "Bytespider", "CCBot", "CCBot/2.0", "CCBot/1.0", "ClaudeBot",
		"cohere-training-data-crawler", "Diffbot", "FacebookBot", "Meta-ExternalAgent", "Google-Extended", "GPTBot",
		"PanguBot", "*",
	}
}

// Outcome is what a robots.txt says about a URL.
type Outcome int

// The outcomes. Unknown is the zero value: without a record nobody may claim permission.
const (
	Unknown    Outcome = iota // there is no record of the site's robots.txt, or it could not be reached
	Allowed                   // no agent is refused
	Disallowed                // at least one agent is refused, or training is
)

func (o Outcome) String() string { return [...]string{"unknown", "allowed", "disallowed"}[o] }

// Semantics is the reading of the file under which a URL is disallowed.
type Semantics string

// The semantics.
const (
	Google  Semantics = "google"        // RFC 9309 as Google's parser applies it
	Protego Semantics = "protego"       // Scrapy's parser, which Apertus used
	Both    Semantics = "both"          // Google and Protego agree
	Usage   Semantics = "content-usage" // an AIPREF preference, not a crawl rule
)

// Verdict is an outcome with its evidence. Line and Rule are set for Disallowed.
type Verdict struct {
	Outcome   Outcome
	Agent     string    // the first agent of the question that is refused
	Semantics Semantics // under which reading
	Line      int       // 1-based line number of the rule in the file
	Rule      string    // that line, without comment and outer blanks
}

// File is a parsed robots.txt. A nil File answers Unknown. It is safe for concurrent use.
type File struct {
	groups []group // one per user-agent line
}

// group is what one user-agent line is in charge of.
type group struct {
	product string // letters, digits, '-' and '_' at the start of the value, lower case: what Google compares
	name    string // whole value, lower case: what Protego looks for inside the agent
	global  bool   // the value is "*"
	google  []rule // Allow and Disallow lines in Google's grouping
	protego []rule // and in Protego's
	usage   []rule // Content-Usage lines, in Google's grouping
}

// rule is an Allow, Disallow or Content-Usage line.
type rule struct {
	allow   bool
	written pattern // as in the file: Google's measure of length
	quoted  pattern // percent-encoded as Protego does
	index   bool    // an Allow of .../index.htm(l), which both parsers also read as an Allow of the folder
	line    int
	text    string
}

// FromResponse is what an HTTP answer to GET /robots.txt means: a success is parsed, "not there" (4xx) allows all
// (RFC 9309 2.3.1.3), anything else is unknown (nil).
func FromResponse(status int, body []byte) *File {
	switch {
	case status >= 200 && status < 300:
		return Parse(body)
	case status >= 400 && status < 500:
		return &File{}
	}
	return nil
}

// Decide says what the file means for rawURL and any of agents: the first agent refused decides, then AIPREF.
func (f *File) Decide(rawURL string, agents []string) Verdict {
	if f == nil {
		return Verdict{}
	}
	path := newTarget(rawURL)
	for _, agent := range agents {
		if v := f.decide(path, agent); v.Outcome == Disallowed {
			return v
		}
	}
	for _, agent := range agents {
		if r := f.usageRefusal(path, agent); r != nil {
			return Verdict{Disallowed, agent, Usage, r.line, r.text}
		}
	}
	return Verdict{Outcome: Allowed}
}

func (f *File) decide(path target, agent string) Verdict {
	g, p := f.google(path, agent), f.protego(path, agent)
	v := Verdict{Outcome: Disallowed, Agent: agent, Semantics: Both}
	switch {
	case g == nil && p == nil:
		return Verdict{Outcome: Allowed}
	case p == nil:
		v.Semantics = Google
	case g == nil:
		v.Semantics, g = Protego, p
	}
	v.Line, v.Rule = g.line, g.text
	return v
}

// google gives the rule that disallows path, or nil: all groups naming the agent's product token together, else those
// for *; the longest matching pattern wins, Allow on a tie.
func (f *File) google(path target, agent string) *rule {
	return longest(f.googleGroups(agent), func(g *group) []rule { return g.google }, func(r *rule) int {
		if r.written.matches(path.escaped) {
			return len(r.written)
		}
		if r.index { // Allow: /x/index.html is read as /x/$ too
			folder := r.written[:strings.LastIndexByte(string(r.written), '/')+1] + "$"
			if folder.matches(path.escaped) {
				return len(folder)
			}
		}
		return -1
	})
}

func (f *File) googleGroups(agent string) []*group {
	product, _, _ := strings.Cut(strings.ToLower(agent), "/") // "CCBot/2.0" is the product CCBot
	var named, global []*group
	for i := range f.groups {
		g := &f.groups[i]
		if g.global {
			global = append(global, g)
		} else if product != "" && g.product == product {
			named = append(named, g)
		}
	}
	if len(named) > 0 {
		return named
	}
	return global
}

// protego gives the rule that disallows path, or nil: of the groups whose name is part of the agent's name those with
// the longest, then the longest matching pattern, Allow on a tie.
func (f *File) protego(path target, agent string) *rule {
	agent = strings.ToLower(strings.TrimSpace(agent))
	best, name := 0, ""
	for _, g := range f.groups {
		score := len(g.name)
		if g.name == "*" {
			score = 1
		} else if !strings.Contains(agent, g.name) {
			continue
		}
		if score > best {
			best, name = score, g.name
		}
	}
	if best == 0 {
		return nil
	}
	var chosen []*group
	for i := range f.groups {
		if f.groups[i].name == name {
			chosen = append(chosen, &f.groups[i])
		}
	}
	return longest(chosen, func(g *group) []rule { return g.protego }, func(r *rule) int {
		if r.quoted.matches(path.quoted) {
			return len(r.quoted)
		}
		if r.index && strings.HasSuffix(string(r.quoted), "/index.html") {
			folder := r.quoted[:len(r.quoted)-10] + "$"
			if folder.matches(path.quoted) {
				return len(folder)
			}
		}
		return -1
	})
}

// usageRefusal gives the Content-Usage line that keeps path out of training, or nil. The same groups and the longest
// path decide as for crawling; on equal paths a refusal holds, whatever else is said.
func (f *File) usageRefusal(path target, agent string) *rule {
	return longest(f.googleGroups(agent), func(g *group) []rule { return g.usage }, func(r *rule) int {
		if !r.written.matches(path.escaped) {
			return -1
		}
		if r.allow {
			return 2 * len(r.written)
		}
		return 2*len(r.written) + 1
	})
}

// longest gives the rule with the greatest length, if it is no Allow. Length 0 and less decides nothing; an Allow wins a tie.
func longest(groups []*group, rules func(*group) []rule, length func(*rule) int) *rule {
	var refusal *rule
	allow, disallow := 0, 0
	for _, g := range groups {
		for i := range rules(g) {
			r := &rules(g)[i]
			n := length(r)
			if r.allow {
				allow = max(allow, n)
			} else if n > disallow {
				disallow, refusal = n, r
			}
		}
	}
	if disallow > allow {
		return refusal
	}
	return nil
}
