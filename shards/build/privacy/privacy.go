// Package privacy is the masking of personal data in text: e-mail addresses, IP addresses and IBANs, found by hand-written scanners.
//
// There is one profile, Strict, which would rather mask too much: private and documentation addresses and version numbers of
// four parts are masked too, an IBAN counts with and without spaces. Counts are returned, values never.
package privacy

import (
	"strings"
	"unicode/utf8"
)

// Profile names a set of scanners and their choices; a shard manifest records it.
type Profile string

// Strict is the profile Mask applies.
const Strict Profile = "strict"

// The masks, as Apertus writes them; its tokenizer has one token for each.
const (
	EmailMask = "<email-pii>"
	IPMask    = "<ip-pii>"
	IBANMask  = "<iban-pii>"
)

// Counts is how many values of each kind were masked.
type Counts struct{ Email, IP, IBAN int }

// Add gives the sum of both.
func (c Counts) Add(d Counts) Counts {
	return Counts{c.Email + d.Email, c.IP + d.IP, c.IBAN + d.IBAN}
}

// Total is the number of values masked.
func (c Counts) Total() int { return c.Email + c.IP + c.IBAN }

// Mask replaces each value in text by its mask. Mask(Mask(x)) = Mask(x).
func Mask(text string) (string, Counts) {
	var all Counts
	for {
		// A mask can set a value beside it free ("192.0.2.1DE89..."), so go on until nothing is found. Each hit takes
		// away an '@', a digit or a colon and no mask holds one, so this ends.
		var c Counts
		text, c.Email = replace(text, EmailMask, nextEmail)
		text, c.IBAN = replace(text, IBANMask, nextIBAN)
		text, c.IP = replace(text, IPMask, nextIP)
		if c.Total() == 0 {
			return text, all
		}
		all = all.Add(c)
	}
}

// span is text[start:end].
type span struct{ start, end int }

// replace puts mask for every span that next finds; next looks at text[from:] but may see what stands before.
func replace(text, mask string, next func(text string, from int) (span, bool)) (string, int) {
	var out strings.Builder
	from, n := 0, 0
	for {
		hit, ok := next(text, from)
		if !ok {
			break
		}
		out.WriteString(text[from:hit.start])
		out.WriteString(mask)
		from = hit.end
		n++
	}
	if n == 0 {
		return text, 0
	}
	out.WriteString(text[from:])
	return out.String(), n
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }

// alnumBefore and alnumAfter look at the ASCII character beside a position.
func alnumBefore(s string, i int) bool { return i > 0 && isAlnum(s[i-1]) }
func alnumAfter(s string, i int) bool  { return i < len(s) && isAlnum(s[i]) }

// lastRune is the rune that ends at s[:end], never an invalid one.
func lastRune(s string, end int) (rune, int, bool) {
	r, size := utf8.DecodeLastRuneInString(s[:end])
	return r, size, size > 0 && !(r == utf8.RuneError && size == 1)
}

// firstRune is the rune that begins at s[start:], never an invalid one.
func firstRune(s string, start int) (rune, int, bool) {
	r, size := utf8.DecodeRuneInString(s[start:])
	return r, size, size > 0 && !(r == utf8.RuneError && size == 1)
}
