package build

import (
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/allmend-network/allmend/verify/digest"
)

// TextDigest names a text whatever its spelling of blanks and accents: SHA-256 of its NFC form with every run of blanks as
// one space and none at the ends.
func TextDigest(text string) digest.Sum {
	return digest.Of([]byte(strings.Join(strings.Fields(norm.NFC.String(text)), " ")))
}

// Seen remembers texts by digest. Documents must come in the order of their origins, so that the first is the smallest.
type Seen map[digest.Sum]Origin

// Add remembers the text, or gives the reason for dropping it if one before has the same digest.
func (s Seen) Add(sum digest.Sum, origin Origin) *Drop {
	if first, ok := s[sum]; ok {
		return &Drop{StageDedup, RuleDuplicate, fmt.Sprintf("text sha256 %s, first in %s at %s", sum, first.File, first.Position)}
	}
	s[sum] = origin
	return nil
}
