package run

import (
	"fmt"
	"slices"
)

// Range is the positions Start ≤ p < End of a run's sample stream.
//
// Invariant: Start < End.
type Range struct {
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
}

// Len returns the number of positions in r.
func (r Range) Len() uint64 { return r.End - r.Start }

// Count returns the number of positions in ranges.
func Count(ranges []Range) uint64 {
	var n uint64
	for _, r := range ranges {
		n += r.Len()
	}
	return n
}

// Positions returns the positions of ranges in their order.
func Positions(ranges []Range) []uint64 {
	out := make([]uint64, 0, Count(ranges))
	for _, r := range ranges {
		for p := r.Start; p < r.End; p++ {
			out = append(out, p)
		}
	}
	return out
}

// cut returns the positions i ≤ k < j of ranges, counted along them in their
// order; neighbours are joined.
func cut(ranges []Range, i, j uint64) []Range {
	out := []Range{}
	for _, r := range ranges {
		n := r.Len()
		lo, hi := min(i, n), min(j, n)
		if lo < hi {
			out = appendRange(out, Range{r.Start + lo, r.Start + hi})
		}
		i, j = i-lo, j-hi
	}
	return out
}

// appendRange adds r behind ranges, joined to the last one if it continues it.
func appendRange(ranges []Range, r Range) []Range {
	if n := len(ranges); n > 0 && ranges[n-1].End == r.Start {
		ranges[n-1].End = r.End
		return ranges
	}
	return append(ranges, r)
}

// union returns the sorted, joined form of a set a plus ranges b that must not
// overlap it.
func union(a, b []Range) ([]Range, error) {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y Range) int {
		if x.Start < y.Start {
			return -1
		}
		return 1
	})
	out := make([]Range, 0, len(all))
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].End > r.Start {
			return nil, fmt.Errorf("samples %d … %d are there already", r.Start, out[n-1].End-1)
		}
		out = appendRange(out, r)
	}
	return out, nil
}

// Join returns ranges that must not overlap as a set: sorted, neighbours
// joined.
func Join(ranges []Range) ([]Range, error) { return union(nil, ranges) }

// minus returns the set a, sorted and joined, without ranges b, all of which it
// must contain.
func minus(a, b []Range) ([]Range, error) {
	b, err := union(nil, b)
	if err != nil {
		return nil, err
	}
	out := make([]Range, 0, len(a)+len(b))
	for _, r := range a {
		for len(b) > 0 && b[0].Start >= r.Start && b[0].End <= r.End {
			if r.Start < b[0].Start {
				out = append(out, Range{r.Start, b[0].Start})
			}
			r.Start, b = b[0].End, b[1:]
		}
		if r.Start < r.End {
			out = append(out, r)
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("samples %d … %d are not there", b[0].Start, b[0].End-1)
	}
	return out, nil
}

// checkSet fails unless ranges are a set: non-empty, sorted, disjoint, joined.
func checkSet(ranges []Range) error {
	for i, r := range ranges {
		if r.Start >= r.End {
			return fmt.Errorf("range %d … %d is empty", r.Start, r.End)
		}
		if i > 0 && ranges[i-1].End >= r.Start {
			return fmt.Errorf("range %d … %d is not behind the one before it", r.Start, r.End)
		}
	}
	return nil
}
