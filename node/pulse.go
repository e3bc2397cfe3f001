package node

import (
	"sync"
	"time"

	"github.com/allmend-network/allmend/allreduce"
	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/verify/identity"
	"golang.org/x/sys/unix"
)

// Phases of a member's Progress.
const (
	phaseIdle       = "idle"
	phaseSync       = "sync"
	phaseCompute    = "compute"
	phaseRing       = "ring"
	phaseKeep       = "keep" // hash and store what a ring made
	phaseApply      = "apply"
	phaseCheckpoint = "checkpoint"
	phaseFinished   = "finished" // it has all there will be
)

// workStep is how much processor time counts as a step of work that has no
// counter of its own.
const workStep = 250 * time.Millisecond

// pulse is a member's own Progress. It is safe for concurrent use.
type pulse struct {
	mu      sync.Mutex // guards the fields below
	now     coordinator.Progress
	working bool          // Step counts processor time since began
	began   time.Duration // processor time of this process
	changed chan struct{} // closed and replaced when what it waits for changes
}

func newPulse() *pulse {
	return &pulse{now: coordinator.Progress{Phase: phaseIdle}, changed: make(chan struct{})}
}

func (p *pulse) set(change func(*coordinator.Progress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.now.Waiting
	change(&p.now)
	if p.now.Waiting != before {
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *pulse) get() (coordinator.Progress, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now
	if p.working {
		now.Step += uint64((processorTime() - p.began) / workStep)
	}
	return now, p.changed
}

// begin notes the start of a job. Reading, hashing, applying and writing a
// state, and a long unit, do not say how far they are; that they use the
// processor shows that they get on. In a ring, steps are the ring's: who waits
// stands still.
func (p *pulse) begin(phase string, round uint64) {
	p.set(func(now *coordinator.Progress) {
		*now = coordinator.Progress{Round: round, Phase: phase, Bytes: now.Bytes}
		p.working = phase != phaseIdle && phase != phaseRing && phase != phaseFinished
		p.began = processorTime()
	})
}

// rest notes the end of a job.
func (p *pulse) rest() {
	p.set(func(now *coordinator.Progress) {
		now.Phase, now.Step, now.Waiting = phaseIdle, 0, identity.Address{}
		p.working = false
	})
}

// moved notes bytes that came.
func (p *pulse) moved(n int) { p.set(func(now *coordinator.Progress) { now.Bytes += uint64(n) }) }

// ring notes how far a ring has come. Its two phases are one count of steps.
func (p *pulse) ring(j member.Ring, g allreduce.Progress) {
	p.set(func(now *coordinator.Progress) {
		now.Attempt, now.Phase, now.Step = j.Attempt, g.Phase.String(), uint64(g.Step)
		if g.Phase == allreduce.AllGather {
			now.Step += uint64(len(j.Contributors) - 1)
		}
		now.Bytes, now.Waiting = uint64(g.Received+g.Sent), identity.Address{}
		if g.Waiting != allreduce.Nobody {
			now.Waiting = j.Contributors[g.Waiting]
		}
	})
}

// processorTime returns what all threads of this process have used.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // never: the arguments are right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
