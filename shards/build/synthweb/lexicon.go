package synthweb

import "strings"

// lexicon is what a language brings: parts that fit together in every combination, whole sentences, and the furniture of a page.
type lexicon struct {
	code string // ISO 639-3
	html string // for <html lang>
	rtl  bool
	// order arranges a sentence: O opener, C clause, P place, T tail; everything else stands for itself.
	order    string
	openers  []string
	clauses  []string
	places   []string
	tails    []string // with their own comma
	sayings  []string // whole sentences
	topics   []string // titles of pages
	nav      []string
	footer   string
	licence  string // link text of the licence
	email    string // sentence with %s for an e-mail address
	address  string // sentence with %s for an IP address
	account  string // sentence with %s for an IBAN
	sentence string // between sentences: " ", or nothing in Chinese
}

// lexicons lists the languages in a fixed order.
func lexicons() []*lexicon {
	return []*lexicon{&english, &german, &french, &italian, &spanish, &russian, &greek, &arabic, &hindi, &chinese}
}

func lexiconOf(code string) *lexicon {
	for _, l := range lexicons() {
		if l.code == code {
			return l
		}
	}
	panic("synthweb: no lexicon " + code)
}

// sentenceOf makes one sentence; three in ten are sayings.
func (l *lexicon) sentenceOf(r *source) string {
	if r.intn(10) < 3 {
		return pick(r, l.sayings)
	}
	parts := map[rune]string{'O': pick(r, l.openers), 'C': pick(r, l.clauses), 'P': pick(r, l.places), 'T': ""}
	if r.intn(3) > 0 {
		parts['T'] = pick(r, l.tails)
	}
	var out strings.Builder
	for _, c := range l.order {
		if part, ok := parts[c]; ok {
			out.WriteString(part)
		} else {
			out.WriteRune(c)
		}
	}
	return out.String()
}

// paragraphOf makes a paragraph of n sentences.
func (l *lexicon) paragraphOf(r *source, n int) string {
	sentences := make([]string, n)
	for i := range sentences {
		sentences[i] = l.sentenceOf(r)
	}
	return strings.Join(sentences, l.sentence)
}

// source is SplitMix64: the same numbers everywhere, whatever the version of Go.
type source struct{ state uint64 }

func (s *source) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// intn gives 0 … n-1; the bias of the remainder is of no account here.
func (s *source) intn(n int) int { return int(s.next() % uint64(n)) }

func pick(r *source, from []string) string { return from[r.intn(len(from))] }
