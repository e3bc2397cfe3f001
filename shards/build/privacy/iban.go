package privacy

import (
	"strings"
	"unicode/utf8"
)

// registry is the structure of the account number by country (ISO 13616: n digits, a capitals, c either).
const registry = `
	AD8n12c AE19n AL8n16c AT16n AX14n AZ4a20c BA16n BE12n BG4a6n8c BH4a14c BI23n BL10n11c2n BR23n1a1c BY4c4n16c
	CH5n12c CR18n CY8n16c CZ20n DE18n DJ23n DK14n DO4c20n EE16n EG25n ES20n FI14n FK2a12n FO14n FR10n11c2n
	GB4a14n GE2a16n GF10n11c2n GG4a14n GI4a15c GL14n GP10n11c2n GR7n16c GT24c HR17n HU24n IE4a14n IL19n IM4a14n
	IQ4a15n IS22n IT1a10n12c JE4a14n JO4a4n18c KW4a22c KZ3n13c LB4n20c LC4a24c LI5n12c LT16n LU3n13c LV4a13c
	LY21n MC10n11c2n MD20c ME18n MF10n11c2n MK3n10c2n MN16n MQ10n11c2n MR23n MT4a5n18c MU4a19n3a NC10n11c2n
	NI4a20n NL4a10n NO11n OM3n16c PF10n11c2n PK4a16c PL24n PM10n11c2n PS4a21c PT21n QA4a21c RE10n11c2n RO4a16c
	RS18n RU14n15c SA2n18c SC4a20n3a SD14n SE20n SI15n SK20n SM1a10n12c SO19n ST21n SV4a20n TF10n11c2n TL19n
	TN20n TR6n16c UA6n19c VA18n VG4a16n WF10n11c2n XK16n YT10n11c2n
`

const maxIBAN = 34 // characters

// structures holds one class byte for each character after the check digits, by country.
var structures = expand(registry)

func expand(text string) map[string]string {
	out := map[string]string{}
	for _, word := range strings.Fields(text) {
		var classes strings.Builder
		n := 0
		for _, c := range word[2:] {
			if c >= '0' && c <= '9' {
				n = 10*n + int(c-'0')
				continue
			}
			classes.WriteString(strings.Repeat(string(c), n))
			n = 0
		}
		out[word[:2]] = classes.String()
	}
	return out
}

// nextIBAN finds an IBAN of right structure and check digits, in any case, written together or with one or two spaces or
// hyphens between any of its characters.
func nextIBAN(s string, from int) (span, bool) {
	for i := from; i+4 <= len(s); i++ {
		if !isLetter(s[i]) || !isLetter(s[i+1]) || alnumBefore(s, i) {
			continue
		}
		classes, known := structures[string([]byte{s[i] &^ 0x20, s[i+1] &^ 0x20})]
		if !known {
			continue
		}
		if end := ibanEnd(s, i, classes); end > 0 {
			return span{i, end}, true
		}
	}
	return span{}, false
}

// ibanEnd is the end of the IBAN that begins at s[start:], or 0.
func ibanEnd(s string, start int, classes string) int {
	var number [maxIBAN]byte
	want, n := 4+len(classes), 0
	at := start
	for n < want {
		if n > 0 {
			at += separator(s[at:])
			at += separator(s[at:])
		}
		if at >= len(s) {
			return 0
		}
		c := s[at]
		if isLetter(c) {
			c &^= 0x20
		}
		if !fits(c, n, classes) {
			return 0
		}
		number[n] = c
		n++
		at++
	}
	if alnumAfter(s, at) || mod97(number[:n]) != 1 {
		return 0
	}
	return at
}

// separator is the length of a single space, no-break space or hyphen at the start of s, else 0.
func separator(s string) int {
	r, size := utf8.DecodeRuneInString(s)
	if r == ' ' || r == '-' || r == '\u00a0' || r == '\u202f' {
		return size
	}
	return 0
}

func fits(c byte, n int, classes string) bool {
	switch {
	case n < 2:
		return isLetter(c)
	case n < 4:
		return isDigit(c)
	}
	switch classes[n-4] {
	case 'n':
		return isDigit(c)
	case 'a':
		return isLetter(c)
	}
	return isAlnum(c)
}

// mod97 is the remainder of ISO 7064: the first four characters moved to the end, letters as 10 to 35.
func mod97(number []byte) int {
	rest := 0
	for i := range number {
		c := number[(i+4)%len(number)]
		if isDigit(c) {
			rest = (10*rest + int(c-'0')) % 97
		} else {
			rest = (100*rest + int(c-'A') + 10) % 97
		}
	}
	return rest
}
