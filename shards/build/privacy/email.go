package privacy

import (
	"net/netip"
	"strings"
	"unicode"
)

const (
	maxLocal  = 64  // bytes before the '@' (RFC 5321)
	maxDomain = 253 // bytes after it
)

// nextEmail finds local@domain. Local parts may hold letters of any script that writes words apart; domains may be
// internationalised or an address in brackets.
func nextEmail(s string, from int) (span, bool) {
	for at := from; ; at++ {
		i := strings.IndexByte(s[at:], '@')
		if i < 0 {
			return span{}, false
		}
		at += i
		start := localStart(s, from, at)
		if start == at {
			continue
		}
		if end := domainEnd(s, at+1); end > 0 {
			return span{start, end}, true
		}
	}
}

// localStart is where the local part before s[at] begins; at if there is none.
func localStart(s string, from, at int) int {
	if at-1 > from && s[at-1] == '"' {
		window := s[max(from, at-1-maxLocal) : at-1]
		if i := strings.LastIndexByte(window, '"'); i >= 0 && !strings.Contains(window[i:], "\n") {
			return at - 1 - len(window) + i
		}
	}
	start := at
	for start > from {
		r, size, ok := lastRune(s, start)
		if !ok || !isLocal(r) || at-(start-size) > maxLocal || start-size < from {
			break
		}
		start -= size
	}
	return start
}

func isLocal(r rune) bool {
	if r < 0x80 {
		return isAlnum(byte(r)) || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", r)
	}
	return (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)) && !isUnspaced(r)
}

// isUnspaced tells the scripts that write words without spaces between: there a neighbouring letter says nothing about
// where an address begins or ends.
func isUnspaced(r rune) bool {
	return r >= 0x0E00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul,
		unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// domainEnd is the end of the domain that begins at s[start:], or 0.
func domainEnd(s string, start int) int {
	if start < len(s) && s[start] == '[' {
		window := s[start+1 : min(len(s), start+65)]
		i := strings.IndexByte(window, ']')
		if i < 0 {
			return 0
		}
		literal := window[:i]
		if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
			literal = literal[5:]
		}
		if _, err := netip.ParseAddr(literal); err != nil {
			return 0
		}
		return start + 1 + i + 1
	}
	end, labels := start, 0
	best := 0
	for {
		next := labelEnd(s, end, start+maxDomain)
		if next == end {
			return best
		}
		labels++
		label := s[end:next]
		trimmed := strings.TrimRight(label, "-_")
		if labels >= 2 && isTopLevel(trimmed) || labels == 4 && isQuad(s[start:next]) {
			best = end + len(trimmed)
		}
		if next >= len(s) || s[next] != '.' {
			return best
		}
		end = next + 1
	}
}

// labelEnd is where the label at s[start:] ends: letters, digits, '-' and '_'. A label that begins in a script with
// spaces ends where one without begins.
func labelEnd(s string, start, limit int) int {
	spaced := false
	end := start
	for end < limit {
		r, size, ok := firstRune(s, end)
		if !ok || !(unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || r == '-' || r == '_') {
			break
		}
		if isUnspaced(r) && spaced {
			break
		}
		spaced = spaced || !isUnspaced(r)
		end += size
	}
	return end
}

// isTopLevel says whether a label can end a domain: two characters, one of them a letter.
func isTopLevel(label string) bool {
	n, letter := 0, false
	for _, r := range label {
		n++
		letter = letter || unicode.IsLetter(r)
	}
	return n >= 2 && letter
}
