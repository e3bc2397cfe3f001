package synthweb

import (
	"fmt"
	"strings"
)

// plant writes one to three pieces of personal data into an article that will be kept.
func (g *generator) plant(a *article, l *lexicon, url string) {
	for range 1 + g.random.intn(3) {
		kind, template, value := g.personal(l)
		at := g.random.intn(len(a.paragraphs))
		a.paragraphs[at] += l.sentence + fmt.Sprintf(template, value)
		g.truth.Planted = append(g.truth.Planted, Planted{kind, value, url, Masked})
	}
}

// personal makes the next value, each only once: addresses from the ranges set aside for documentation (RFC 2606, 5737,
// 3849), account numbers of banks that do not exist.
func (g *generator) personal(l *lexicon) (kind, template, value string) {
	n := g.planted
	g.planted++
	switch n % 8 {
	case 0:
		return "email", l.email, fmt.Sprintf("anna.meier%d@dorf.example", n)
	case 1:
		return "ip", l.address, fmt.Sprintf("%s.%d", []string{"192.0.2", "198.51.100", "203.0.113", "10.7.0"}[n/8%4], 1+n/8)
	case 2:
		return "iban", l.account, iban("CH", fmt.Sprintf("00000%012d", n))
	case 3:
		return "email", l.email, fmt.Sprintf("book+%d@mail.alp-%d.example.org", n, n)
	case 4:
		return "ip", l.address, fmt.Sprintf("2001:db8:%x::%x:%x", n, n+1, n+2)
	case 5:
		return "iban", l.account, grouped(iban("DE", fmt.Sprintf("00000000%010d", n)))
	case 6:
		return "email", l.email, fmt.Sprintf("müller-%d@bücher.example", n)
	}
	return "iban", l.account, grouped(iban("GB", fmt.Sprintf("ZZZZ000000%08d", n)))
}

// iban puts the check digits between country and account number: 98 minus the remainder by 97 (ISO 13616).
func iban(country, account string) string {
	rest := 0
	for _, c := range account + country + "00" {
		if c >= 'A' {
			rest = (100*rest + int(c-'A') + 10) % 97
		} else {
			rest = (10*rest + int(c-'0')) % 97
		}
	}
	return fmt.Sprintf("%s%02d%s", country, 98-rest, account)
}

// grouped writes a number in groups of four.
func grouped(number string) string {
	var out strings.Builder
	for i, c := range number {
		if i > 0 && i%4 == 0 {
			out.WriteByte(' ')
		}
		out.WriteRune(c)
	}
	return out.String()
}
