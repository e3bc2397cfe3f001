package run

import (
	"fmt"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
)

// Ledger says what became of every sample of the run's stream: positions from
// Cursor on were never touched; each position below it is in exactly one of
// the four sets. A Ledger is a value: its methods return a new one and leave
// their receiver as it was.
//
// Invariant: Free, Assigned, Consumed and Rejected are sets (sorted, disjoint,
// joined), disjoint from one another, and their union is [0, Cursor).
type Ledger struct {
	Cursor   uint64  `json:"cursor"`
	Free     []Range `json:"free"`     // returned: the next Assign takes these first
	Assigned []Range `json:"assigned"` // in the round under way
	Consumed []Range `json:"consumed"` // in a closed round, not void
	Rejected []Range `json:"rejected"` // consumed, but gave a non-finite gradient
}

// NewLedger returns the ledger of a run that has not begun.
func NewLedger() Ledger {
	return Ledger{Free: []Range{}, Assigned: []Range{}, Consumed: []Range{}, Rejected: []Range{}}
}

// Digest returns the SHA-256 of l's canonical JSON.
func (l Ledger) Digest() digest.Sum {
	b, err := canonical.Marshal(l)
	if err != nil {
		panic("run: ledger does not encode: " + err.Error()) // no position reaches 2^53
	}
	return digest.Of(b)
}

// Check verifies the invariant of l, for a ledger that came from outside.
func (l Ledger) Check() error {
	all := []Range{}
	for _, set := range [][]Range{l.Free, l.Assigned, l.Consumed, l.Rejected} {
		if err := checkSet(set); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		var err error
		if all, err = union(all, set); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	if Count(all) != l.Cursor || len(all) > 1 || len(all) == 1 && all[0].Start != 0 {
		return fmt.Errorf("ledger: the sets do not cover the %d samples before the cursor", l.Cursor)
	}
	return nil
}

// Take moves the next n positions to assigned, returned ones first, then from
// the cursor, and returns them in that order.
func (l Ledger) Take(n uint64) ([]Range, Ledger) {
	taken := cut(l.Free, 0, n)
	next := l
	next.Free = cut(l.Free, Count(taken), Count(l.Free))
	if rest := n - Count(taken); rest > 0 {
		taken = appendRange(taken, Range{l.Cursor, l.Cursor + rest})
		next.Cursor += rest
	}
	var err error
	if next.Assigned, err = union(l.Assigned, taken); err != nil {
		panic("run: ledger invariant broken: " + err.Error())
	}
	return taken, next
}

// Consume moves ranges from assigned to consumed.
func (l Ledger) Consume(ranges []Range) (Ledger, error) {
	return l.move(ranges, &l.Assigned, &l.Consumed)
}

// Reject moves ranges from assigned to rejected.
func (l Ledger) Reject(ranges []Range) (Ledger, error) {
	return l.move(ranges, &l.Assigned, &l.Rejected)
}

// Return moves everything that is assigned to free.
func (l Ledger) Return() Ledger {
	next, err := l.move(l.Assigned, &l.Assigned, &l.Free)
	if err != nil {
		panic("run: ledger invariant broken: " + err.Error())
	}
	return next
}

// Rewind moves consumed and rejected ranges of void rounds back to free.
func (l Ledger) Rewind(consumed, rejected []Range) (Ledger, error) {
	next, err := l.move(consumed, &l.Consumed, &l.Free)
	if err != nil {
		return l, err
	}
	return next.move(rejected, &next.Rejected, &next.Free)
}

// move returns its receiver, a copy, with ranges moved from one of its own
// sets to another.
func (l *Ledger) move(ranges []Range, from, to *[]Range) (Ledger, error) {
	before := *l
	less, err := minus(*from, ranges)
	if err != nil {
		return before, fmt.Errorf("ledger: %w", err)
	}
	more, err := union(*to, ranges)
	if err != nil {
		return before, fmt.Errorf("ledger: %w", err)
	}
	*from, *to = less, more
	return *l, nil
}
