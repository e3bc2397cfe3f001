package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
)

// stalePulses is how many statuses in a row a followed coordinator may know no
// leader, or lack a record that another one has, before it is left: it may be
// cut off from the others, or hold records back.
const stalePulses = 3

// coordinators returns the run's coordinators: first who leads, then who is
// followed, then the others.
func (n *Node) coordinators() []identity.Address {
	n.mu.Lock()
	out := slices.Clone(n.status.View.Coordinators)
	followed := n.status.Followed
	n.mu.Unlock()
	leader := n.log.Leader()
	worth := func(a identity.Address) int {
		switch a {
		case leader:
			return 0
		case followed:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(out, func(a, b identity.Address) int { return worth(a) - worth(b) })
	return out
}

// follow follows one coordinator's log after another.
func (n *Node) follow(ctx context.Context) {
	for turn := uint64(1); ctx.Err() == nil; turn++ {
		list := n.everyCoordinator()
		from := list[(n.process+turn)%uint64(len(list))] // not all at the same one
		number := n.chain.records.Len()
		doubt := doubt{applied: &n.applied}
		err := n.host.Follow(ctx, from, number, func(f Followed) error {
			if n.left.Load() == turn {
				return errors.New("it sent a record that does not follow")
			}
			if f.Status != nil {
				if err := doubt.take(*f.Status); err != nil {
					return err
				}
			}
			m := message{from, turn, number, f}
			if f.Record != nil {
				number++
			}
			select {
			case n.inbox <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if ctx.Err() != nil {
			return
		}
		n.logger.Info("looking for another coordinator to follow", "error", err)
		n.log.lead(identity.Address{}, n.log.Over())
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
		}
	}
}

// everyCoordinator returns the run's coordinators by address.
func (n *Node) everyCoordinator() []identity.Address {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.status.View.Coordinators)
}

// doubt is whether a followed coordinator is worth following: its pulses show
// that it lives, not that it is one of those who agree.
type doubt struct {
	applied *atomic.Uint64 // size of the log elsewhere, as coordinators said that took own statements
	leader  int            // statuses in a row without a leader
	stale   int            // statuses in a row of a log shorter than applied
}

// take takes what the coordinator says of itself, and fails when it should be
// left.
func (d *doubt) take(s followStatus) error {
	if d.leader++; !s.Leader.IsZero() {
		d.leader = 0
	}
	if d.stale++; s.Size >= d.applied.Load() {
		d.stale = 0
	}
	switch {
	case d.leader >= stalePulses:
		return fmt.Errorf("it has known no leader for %d pulses", d.leader)
	case d.stale >= stalePulses:
		return fmt.Errorf("it has %d records for %d pulses, another coordinator has %d", s.Size, d.stale, d.applied.Load())
	}
	return nil
}
