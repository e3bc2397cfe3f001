package demo

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/run"
)

// recount is what the log says was trained on, counted one sample at a time.
type recount struct {
	Rounds   int    // closed, not void
	Samples  uint64 // consumed or rejected
	Tokens   uint64
	Returned uint64 // dealt to somebody who did not contribute; each came back
	Waiting  uint64 // of these, not dealt again by the end
	First    float64
	Last     float64 // mean loss of the first and of the last round
}

// recountLog counts the samples of every round in the log and compares the sum
// with the run's own ledger: none twice, none lost.
func recountLog(e *verify.Evidence) (recount, error) {
	var c recount
	times := map[uint64]int{} // by position in the stream; 0: dealt only
	for _, r := range e.Rounds {
		if r.Void {
			continue
		}
		c.Rounds++
		for _, span := range r.Open.Spans {
			member := r.Open.Roster[span.Member]
			contributed := slices.Contains(r.Closed.Contributors, member)
			for _, p := range run.Positions(span.Ranges) {
				if contributed {
					times[p]++
				} else {
					times[p] += 0
					c.Returned++
				}
			}
		}
		loss := float64(math.Float32frombits(r.Closed.Loss)) / float64(r.Closed.Targets)
		if c.Rounds == 1 {
			c.First = loss
		}
		c.Last = loss
	}
	return c, c.check(e, times)
}

func (c *recount) check(e *verify.Evidence, times map[uint64]int) error {
	free := map[uint64]bool{}
	for _, p := range run.Positions(e.View.Ledger.Free) {
		free[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(times)) {
		switch n := times[p]; {
		case n > 1:
			return fmt.Errorf("sample %d was trained on %d times", p, n)
		case n == 1 && free[p]:
			return fmt.Errorf("sample %d was trained on and is still to be dealt", p)
		case n == 1:
			c.Samples++
		case !free[p]:
			return fmt.Errorf("sample %d was dealt, never trained on, and never came back", p)
		default:
			c.Waiting++
		}
	}
	for p := range e.View.Ledger.Cursor {
		if _, dealt := times[p]; !dealt && !free[p] {
			return fmt.Errorf("sample %d was left out", p)
		}
	}
	c.Tokens = c.Samples * uint64(e.Spec.Sequence)
	return nil
}
