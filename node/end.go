package node

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/coordinator/state"
)

const (
	lookEvery = time.Second
	// lastCall is how long a finished process waits, after it has served
	// something last, for those who are late, when no coordinator says that
	// all are done; and how long one that is late looks for a source.
	lastCall = 30 * time.Second
	// lateHeard is how recently a member that is late at the end must have been
	// heard to be waited for: it may be starting again.
	lateHeard = 5 * time.Second
	// lastMost bounds the end of a run, whatever members report.
	lastMost = time.Hour
	// farewell is how long a coordinator goes on saying that all is over.
	farewell = 3 * time.Second
)

// ending is what a member knows of the end of the run. It belongs to the loop.
type ending struct {
	finished time.Time // when this process had all; zero before
	moved    time.Time // when a process that is late got on last; zero while the run goes on
	bytes    uint64    // moved until then
	failure  string    // why a job failed, since one succeeded last
}

// last ends the loop when the run is over and nobody needs this process any
// more, or when this process is late and nobody has what it needs.
func (l *loop) last(now time.Time) error {
	e := &l.ending
	switch {
	case l.cfg.Stay && !e.finished.IsZero():
		return nil
	case !e.finished.IsZero():
		if l.log.Over() || now.Sub(later(e.finished, l.host.gave())) > l.patience || now.Sub(e.finished) > lastMost {
			return errFinished
		}
		return nil
	case l.chain.view().Status != state.Finished:
		e.moved = time.Time{} // a late record may show that it goes on
		return nil
	}
	at, _ := l.pulse.get()
	if e.moved.IsZero() || at.Bytes != e.bytes || l.working && e.failure == "" {
		e.moved, e.bytes = now, at.Bytes
	}
	if now.Sub(e.moved) > l.patience {
		return l.stranded()
	}
	return nil
}

// stranded says that the run has ended without this process.
func (l *loop) stranded() error {
	reason := "no peer could be asked"
	if l.ending.failure != "" {
		reason = l.ending.failure
	}
	return fmt.Errorf("run %s is finished, and nobody serves what this node still needs to reach its end: %s; start this node again while another one that has it serves it with --stay, or get the result with `allmend run fetch`", l.id.Short(), reason)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// over reports whether, at a coordinator, the run is finished and every member
// has been seen at its end, or is no longer heard or gets on no more.
func (c *Coordinator) over(v state.View, finished, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range v.Members {
		r := c.reports[m.Address]
		heard := now.Sub(later(finished, r.At)) < lateHeard
		moves := now.Sub(later(finished, r.Moved)) < lastCall
		if !m.Barred && r.Phase != phaseFinished && heard && moves {
			return now.Sub(finished) > lastMost
		}
	}
	return now.Sub(c.host.gave()) > farewell
}

// coordinatorLog is the log that a coordinator serves to whoever follows it.
type coordinatorLog struct {
	*coordinator.Coordinator
	ended *atomic.Bool
}

// Over implements logSource.
func (l coordinatorLog) Over() bool { return l.ended.Load() }
