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

// maxRejectedRuns is how many runs of rejected units of one span the ledger
// tells from those that count: it keeps every run's bounds for ever.
const maxRejectedRuns = 16

// FormatUnits writes ascending unit indices as a Commit's Rejected: its runs of
// consecutive ones, "3,17-20".
func FormatUnits(units []int) string {
	var b []byte
	for i := 0; i < len(units); {
		j := i + 1
		for j < len(units) && units[j] == units[j-1]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(units[i]), 10)
		if j > i+1 {
			b = strconv.AppendInt(append(b, '-'), int64(units[j-1]), 10)
		}
		i = j
	}
	return string(b)
}

// ParseUnits reads what [FormatUnits] writes: indices below units.
func ParseUnits(text string, units int) ([]int, error) {
	out := []int{}
	if text == "" {
		return out, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, run := strings.Cut(part, "-")
		if !run {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || from < 0 || to < from || to >= units {
			return nil, fmt.Errorf("rejected units %.40q: %q is none of the span's %d units", text, part, units)
		}
		if n := len(out); n > 0 && out[n-1] >= from {
			return nil, fmt.Errorf("rejected units %.40q: want ascending indices", text)
		}
		for u := from; u <= to; u++ {
			out = append(out, u)
		}
	}
	if FormatUnits(out) != text {
		return nil, fmt.Errorf("rejected units %.40q: want decimal numbers and runs, \"3,17-20\"", text)
	}
	return out, nil
}

// Split returns the ranges of s whose units count, and those of the rejected
// ones, which must have passed [ParseUnits]. So that no member can tear the
// ledger to pieces, a span with more than 16 runs of rejected units counts as
// rejected whole: its samples are not dealt again in either case.
func (s Span) Split(spec Spec, rejected string) (good, bad []Range) {
	units, err := ParseUnits(rejected, s.Units(spec))
	if err != nil {
		panic("run: " + err.Error())
	}
	if strings.Count(rejected, ",") >= maxRejectedRuns {
		return nil, slices.Clone(s.Ranges)
	}
	at := uint64(0)
	skip := func(u int) uint64 { return uint64(u * spec.Unit) }
	rest := s.Ranges
	take := func(to uint64) []Range {
		taken := cut(rest, 0, to-at)
		rest, at = cut(rest, to-at, Count(rest)), to
		return taken
	}
	for i := 0; i < len(units); {
		j := i + 1
		for j < len(units) && units[j] == units[j-1]+1 {
			j++
		}
		good = append(good, take(skip(units[i]))...)
		bad = append(bad, take(skip(units[j-1]+1))...)
		i = j
	}
	return append(good, rest...), bad
}
