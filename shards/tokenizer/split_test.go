package tokenizer

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// dumbSplit matches a pattern with Go's regexp, which prefers alternatives as
// the scanners must but has no look-ahead: the two alternatives for white space
// that are last in each pattern are done by hand. Go's \s is ASCII only.
func dumbSplit(pattern string) func(string) []string {
	const spaces = `\t-\r\x{85}\p{Z}`
	pattern = strings.TrimSuffix(pattern, `|\s+(?!\S)|\s+`)
	pattern = strings.ReplaceAll(pattern, `[^\s`, `[^`+spaces)
	pattern = strings.ReplaceAll(pattern, `\s`, `[`+spaces+`]`)
	first := regexp.MustCompile(`^(?:` + pattern + `)`)
	blank := regexp.MustCompile(`^[` + spaces + `]+`)
	return func(text string) []string {
		list := []string{}
		for text != "" {
			match := first.FindString(text)
			if match == "" {
				match = blank.FindString(text)
				if _, width := utf8.DecodeLastRuneInString(match); match != text && width < len(match) {
					match = match[:len(match)-width]
				}
			}
			list = append(list, match)
			text = text[len(match):]
		}
		return list
	}
}

func TestSplitAgainstRegexp(t *testing.T) {
	const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	tests := []struct {
		name  string
		split func(string) int
		dumb  func(string) []string
	}{
		{"tekken", splitTekken, dumbSplit(tekkenPattern)},
		{"GPT-2", splitGPT2, dumbSplit(gpt2Pattern)},
	}
	// Characters of every class, and those on which the alternatives turn.
	chars := []rune("aAbBsStTzZdDǅʰªא水ि\u0301\u200d12²Ⅷ \t\n\r\v\u0085\u00a0\u2028\u3000'/.-<😀\uFFFD")
	rng := rand.New(rand.NewPCG(7, 8))
	for range 20_000 {
		var b strings.Builder
		for range rng.IntN(20) {
			b.WriteRune(chars[rng.IntN(len(chars))])
		}
		text := b.String()
		for _, test := range tests {
			if got, want := pieces(test.split, text), test.dumb(text); !slices.Equal(got, want) {
				t.Fatalf("%s splits %q into\n%q, want\n%q", test.name, text, got, want)
			}
		}
	}
}
