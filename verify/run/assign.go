package run

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/allmend-network/allmend/verify/identity"
)

// Span is what one member computes in a round: unit u is the positions
// u·Unit ≤ k < (u+1)·Unit counted along Ranges.
type Span struct {
	Member int     `json:"member"` // index in the roster
	Ranges []Range `json:"ranges"`
}

// Units returns the number of units in s.
func (s Span) Units(spec Spec) int { return int(Count(s.Ranges)) / spec.Unit }

// Unit returns the positions of unit u of s as ranges.
func (s Span) Unit(spec Spec, u int) []Range {
	return cut(s.Ranges, uint64(u*spec.Unit), uint64((u+1)*spec.Unit))
}

// Assign deals a round's Batch samples to a roster: returned samples first, in
// stream order, then new ones, cut into units and dealt in roster order,
// consecutive units together, as evenly as possible. Of U units and n members,
// member i gets units ⌊i·U/n⌋ ≤ u < ⌊(i+1)·U/n⌋. It returns one span a member
// and the ledger with them assigned. Everybody computes it; no message carries
// an assignment.
func Assign(spec Spec, ledger Ledger, roster []identity.Address) ([]Span, Ledger) {
	if len(roster) == 0 {
		panic("run: Assign to an empty roster")
	}
	taken, next := ledger.Take(uint64(spec.Batch))
	units, n := spec.Batch/spec.Unit, len(roster)
	spans := make([]Span, n)
	for i := range spans {
		from, to := i*units/n*spec.Unit, (i+1)*units/n*spec.Unit
		spans[i] = Span{Member: i, Ranges: cut(taken, uint64(from), uint64(to))}
	}
	return spans, next
}

// ParseUnits reads the ascending unit indices of a Commit's Rejected, "3,17",
// each below units.
func ParseUnits(text string, units int) ([]int, error) {
	out := []int{}
	if text == "" {
		return out, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		u, err := strconv.Atoi(part)
		if err != nil || strconv.Itoa(u) != part || u < 0 || u >= units {
			return nil, fmt.Errorf("rejected units %.40q: %q is none of the span's %d units", text, part, units)
		}
		if n := len(out); n > 0 && out[n-1] >= u {
			return nil, fmt.Errorf("rejected units %.40q: want ascending indices", text)
		}
		out = append(out, u)
	}
	return out, nil
}

// Split returns the ranges of s whose units count, and those of the rejected
// ones, which must have passed [ParseUnits].
func (s Span) Split(spec Spec, rejected string) (good, bad []Range) {
	units, err := ParseUnits(rejected, s.Units(spec))
	if err != nil {
		panic("run: " + err.Error())
	}
	for u := range s.Units(spec) {
		if slices.Contains(units, u) {
			bad = append(bad, s.Unit(spec, u)...)
		} else {
			good = append(good, s.Unit(spec, u)...)
		}
	}
	return good, bad
}
