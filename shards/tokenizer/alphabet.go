package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"
)

// The byte-level alphabet writes each byte as one printable character, so that
// tokens can be JSON strings: bytes that are printable in Latin-1 stand for
// themselves, the other 68 are U+0100 … U+0143 in ascending order. (GPT-2.)
var (
	byteRunes = func() (runes [256]rune) {
		next := rune(256)
		for b := range runes {
			if b >= '!' && b <= '~' || b >= 0xA1 && b != 0xAD {
				runes[b] = rune(b)
				continue
			}
			runes[b] = next
			next++
		}
		return runes
	}()

	runeBytes = func() map[rune]byte {
		bytes := make(map[rune]byte, 256)
		for b, r := range byteRunes {
			bytes[r] = byte(b)
		}
		return bytes
	}()

	// alphabet is all 256 bytes in the order of their characters: the order of
	// the byte tokens' ids.
	alphabet = func() (bytes [256]byte) {
		for b := range bytes {
			bytes[b] = byte(b)
		}
		slices.SortFunc(bytes[:], func(a, b byte) int { return cmp.Compare(byteRunes[a], byteRunes[b]) })
		return bytes
	}()
)

// appendSpelled appends text in the byte-level alphabet.
func appendSpelled(dst []byte, text string) []byte {
	for i := range len(text) {
		dst = utf8.AppendRune(dst, byteRunes[text[i]])
	}
	return dst
}

// unspell returns the bytes that a string of the byte-level alphabet stands for.
func unspell(spelled string) (string, error) {
	text := make([]byte, 0, len(spelled))
	for _, r := range spelled {
		b, ok := runeBytes[r]
		if !ok {
			return "", fmt.Errorf("token %.80q has the character %q, which is not in the byte-level alphabet", spelled, r)
		}
		text = append(text, b)
	}
	return string(text), nil
}
