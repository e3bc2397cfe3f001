package synthweb

// site is the plan of one host.
type site struct {
	host, language string
	licence        string // address of the licence the footer links to, "" for none
	spdx           string
	robots         string // the file; "404" for an answer without one; "" for no record
	charset        string // of the pages; "" means UTF-8
	encoding       string // "gzip" or "chunked" on the wire, "" for neither
	refused        bool   // robots.txt refuses the whole site
	special        []special
}

// special is a page with a fate of its own. how tells what is done to it.
type special struct {
	path        string
	how         string
	stage, rule string
}

const (
	ccBY   = "https://creativecommons.org/licenses/by/4.0/"
	ccBYSA = "https://creativecommons.org/licenses/by-sa/4.0/"
	ccZero = "https://creativecommons.org/publicdomain/zero/1.0/"
)

// sites lists the web in file order.
func sites() []site {
	refused := func(path string) special { return special{path, "plain", "robots", "disallowed"} }
	duplicate := func(path string) special { return special{path, "duplicate", "dedup", "same-text"} }
	return []site{
		{host: "commons.example", language: "eng", licence: ccBYSA, spdx: "CC-BY-SA-4.0",
			robots:  "# the commons\nUser-agent: *\nDisallow: /private/\nAllow: /\n",
			special: []special{refused("/private/minutes.html"), refused("/private/accounts.html"), duplicate("/print/1.html")}},
		{host: "library.example", language: "eng", licence: ccZero, spdx: "CC0-1.0",
			special: []special{{"/members.html", "meta", "opt-out", "meta-noai"}, {"/gone.html", "missing", "read", "http-status"}}},
		{host: "allmend.example", language: "deu", licence: ccBY, spdx: "CC-BY-4.0", encoding: "chunked",
			robots:  "User-agent: GPTBot\nUser-agent: CCBot\nDisallow: /archiv/\n\nUser-agent: *\nDisallow:\n",
			special: []special{refused("/archiv/1924.html"), refused("/archiv/1931.html"), duplicate("/druck/2.html")}},
		{host: "imkerei.example", language: "deu", encoding: "gzip", robots: "404",
			special: []special{{"/wabe.png", "image", "read", "content-type"}, duplicate("/alt/1.html")}},
		{host: "communs.example", language: "fra", licence: ccBY, spdx: "CC-BY-4.0", charset: "iso-8859-1",
			robots:  "User-agent: *\nAllow: /\nContent-Usage: train-ai=y\nContent-Usage: /lettres/ train-ai=n\n",
			special: []special{{"/lettres/berger.html", "plain", "robots", "content-usage"}, {"/lettres/meunier.html", "plain", "robots", "content-usage"}}},
		{host: "moulin.example", language: "fra", refused: true,
			robots: "User-agent: CCBot\nUser-agent: ClaudeBot\nUser-agent: GPTBot\nDisallow: /   # no training, please\n"},
		{host: "piazza.example", language: "ita", licence: ccBYSA, spdx: "CC-BY-SA-4.0", robots: "User-agent: *\nDisallow:\n",
			special: []special{{"/diario.html", "x-robots-tag", "opt-out", "x-robots-tag-noai"}, {"/ricette.html", "meta", "opt-out", "meta-noai"}}},
		{host: "pascolo.example", language: "ita", encoding: "gzip", robots: "User-agent: *\nCrawl-delay: 5\nDisallow: /cerca\n",
			special: []special{refused("/cerca?q=fieno"), duplicate("/vecchio/2.html")}},
		{host: "comun.example", language: "spa", licence: ccBY, spdx: "CC-BY-4.0", robots: "User-agent: *\nDisallow: /*/imprimir$\n",
			special: []special{refused("/actas/imprimir"), duplicate("/actas/copia.html")}},
		{host: "derevnya.example", language: "rus", charset: "windows-1251", robots: "User-agent: *\nDisallow: /pisma/\n",
			special: []special{refused("/pisma/1.html"), {"/net.html", "missing", "read", "http-status"}}},
		{host: "chorio.example", language: "ell", licence: ccZero, spdx: "CC0-1.0", encoding: "chunked", robots: "404",
			special: []special{{"/grammata.html", "usage-header", "opt-out", "content-usage"}}},
		{host: "qarya.example", language: "arb", licence: ccBYSA, spdx: "CC-BY-SA-4.0",
			robots:  "User-agent: Google-Extended\nDisallow: /rasail/\n\nUser-agent: *\nAllow: /\n",
			special: []special{refused("/rasail/1.html"), duplicate("/qadim/1.html")}},
		{host: "gaon.example", language: "hin", encoding: "gzip", robots: "User-agent: *\nDisallow: /niji/\n",
			special: []special{refused("/niji/1.html"), {"/chitthi.html", "tdm", "opt-out", "tdm-reservation"}}},
		{host: "cunzi.example", language: "cmn", licence: ccBY, spdx: "CC-BY-4.0", robots: "User-agent: Bytespider\nDisallow: /xin/\n",
			special: []special{refused("/xin/1.html"), duplicate("/jiu/1.html"), {"/riji.html", "tdm-header", "opt-out", "tdm-reservation"}}},
	}
}

func (s site) url(path string) string { return "https://" + s.host + path }

func (s site) truth() Site {
	robots := "file"
	switch s.robots {
	case "":
		robots = "none"
	case "404":
		robots = "missing"
	}
	return Site{s.host, s.language, s.spdx, robots}
}
