package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// preTokenizer is a rule that cuts text into pre-tokens, across which nothing
// is merged.
type preTokenizer int

const (
	tekken preTokenizer = iota // Mistral Nemo and Apertus: case splitting, single digits
	gpt2
)

// tekkenPattern is the rule of tekken as tokenizer.json writes it. Go's regexp
// has no look-ahead, hence splitTekken.
const tekkenPattern = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` +
	`|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*` +
	`|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// split returns the scanner of p: the length in bytes, at least 1, of the first
// pre-token of a text that is not empty.
func (p preTokenizer) split() func(string) int {
	if p == gpt2 {
		return splitGPT2
	}
	return splitTekken
}

// class says which of the patterns' character sets a character is in. A byte
// that is no UTF-8 is in none of them, like U+FFFD.
type class uint8

const (
	upper   class = 1 << iota // Lu, Lt, Lm, Lo, M: begins a word in tekken
	lower                     // Ll, Lm, Lo, M: ends a word in tekken
	letter                    // L
	number                    // N
	space                     // White_Space
	newline                   // CR, LF
)

// classes maps every code point to its class. Categories are those of
// unicode.Version, the Unicode tables of the Go release: ids of characters that
// a later Unicode assigns may change with it, which TestUnicodeVersion reports.
var classes = sync.OnceValue(func() *[unicode.MaxRune + 1]class {
	table := new([unicode.MaxRune + 1]class)
	mark := func(c class, ranges ...*unicode.RangeTable) {
		for _, r := range ranges {
			for _, span := range r.R16 {
				for x := uint32(span.Lo); x <= uint32(span.Hi); x += uint32(span.Stride) {
					table[x] |= c
				}
			}
			for _, span := range r.R32 {
				for x := span.Lo; x <= span.Hi; x += span.Stride {
					table[x] |= c
				}
			}
		}
	}
	mark(upper, unicode.Lu, unicode.Lt, unicode.Lm, unicode.Lo, unicode.M)
	mark(lower, unicode.Ll, unicode.Lm, unicode.Lo, unicode.M)
	mark(letter, unicode.L)
	mark(number, unicode.N)
	mark(space, unicode.White_Space)
	table['\r'] |= newline
	table['\n'] |= newline
	return table
})

// scanner is a text with its characters' classes.
type scanner struct {
	s       string
	classes *[unicode.MaxRune + 1]class
}

// at returns the class of the character at byte i and its width; 0, 0 at the end.
func (t scanner) at(i int) (class, int) {
	if i >= len(t.s) {
		return 0, 0
	}
	if b := t.s[i]; b < utf8.RuneSelf {
		return t.classes[b], 1
	}
	r, width := utf8.DecodeRuneInString(t.s[i:])
	return t.classes[r], width
}

// run returns the end of the longest run of characters from i that are in set.
func (t scanner) run(i int, set class) int {
	for {
		c, width := t.at(i)
		if c&set == 0 {
			return i
		}
		i += width
	}
}

// symbols returns the end of the longest run of characters from i that are
// neither space nor letter nor number.
func (t scanner) symbols(i int) int {
	for {
		c, width := t.at(i)
		if width == 0 || c&(space|letter|number) != 0 {
			return i
		}
		i += width
	}
}

// splitTekken tries the alternatives of tekkenPattern in order.
func splitTekken(s string) int {
	t := scanner{s, classes()}
	c, width := t.at(0)
	if c&(newline|letter|number) == 0 { // the optional character before a word
		if end := t.word(width); end > 0 {
			return end
		}
	}
	if end := t.word(0); end > 0 {
		return end
	}
	if c&number != 0 {
		return width
	}
	if end := t.spacedSymbols(); end > 0 {
		for end < len(s) && (s[end] == '\r' || s[end] == '\n' || s[end] == '/') {
			end++
		}
		return end
	}
	end := t.run(0, space)
	for i := end; i > 0; i-- { // \s*[\r\n]+ gives back all that follows the last newline
		if s[i-1] == '\r' || s[i-1] == '\n' {
			return i
		}
	}
	return t.allButLast(end)
}

// word returns the end of the match of upper*lower+ at i or, if there is none,
// of upper+lower*; 0 if there is neither. Marks, modifiers and letters without
// case are both upper and lower, so upper* may have to give some back: up to the
// last of them that is lower too, which then is all that lower+ matches.
//
// A mark may also be the character before a word. When what follows the mark
// has no lower, the pattern prefers to match the mark as a word by itself over
// an upper-case word behind it; hence mark.
func (t scanner) word(i int) int {
	gaveBack := 0
	end := i
	for {
		c, width := t.at(end)
		if c&upper == 0 {
			if c&lower != 0 {
				return t.run(end, lower)
			}
			break
		}
		end += width
		if c&lower != 0 {
			gaveBack = end
		}
	}
	if gaveBack > 0 {
		return gaveBack
	}
	if mark, _ := t.at(0); end > i && mark&lower == 0 {
		return end
	}
	return 0
}

// spacedSymbols returns the end of the match of " ?[^\s\p{L}\p{N}]+", 0 if none.
func (t scanner) spacedSymbols() int {
	start := 0
	if t.s[0] == ' ' {
		start = 1
	}
	if end := t.symbols(start); end > start {
		return end
	}
	return 0
}

// allButLast returns the end of the match of \s+(?!\S)|\s+ in a run of
// white space that ends at end: all of it at the end of the text, else all but
// its last character, which goes with the next word, unless it is alone.
func (t scanner) allButLast(end int) int {
	if end == len(t.s) {
		return end
	}
	if _, width := utf8.DecodeLastRuneInString(t.s[:end]); width < end {
		return end - width
	}
	return end
}

// splitGPT2 matches
// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+.
func splitGPT2(s string) int {
	t := scanner{s, classes()}
	if n := contraction(s); n > 0 {
		return n
	}
	start := 0
	if s[0] == ' ' {
		start = 1
	}
	for _, set := range []class{letter, number} {
		if end := t.run(start, set); end > start {
			return end
		}
	}
	if end := t.spacedSymbols(); end > 0 {
		return end
	}
	return t.allButLast(t.run(0, space))
}

// contraction returns the length of an English contraction at the start of s.
func contraction(s string) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) >= 3 {
		switch s[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}
