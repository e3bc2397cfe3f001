package coordinator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/hashicorp/raft"
)

const (
	leadEvery    = 250 * time.Millisecond
	probeTimeout = 2 * time.Second // an accused that does not answer for so long is gone
)

// lead does what only the leader does, while this coordinator leads.
func (c *Coordinator) lead() error {
	var now *term
	defer func() { now.end() }()
	for {
		select {
		case leads := <-c.raft.LeaderCh():
			now.end()
			if now = nil; leads {
				now = c.begin()
			}
		case <-c.ctx.Done():
			return nil
		}
	}
}

// term is one stretch of leading. Its goroutine owns dog, told and joined.
type term struct {
	*Coordinator
	dog    *watchdog
	told   map[identity.Address]telling
	joined map[identity.Address]uint64 // log size when a new coordinator began to catch up
	cancel context.CancelFunc
	done   chan struct{}
}

// telling is when a member was proposed to be expired.
type telling struct {
	phase phase
	at    time.Time
}

func (c *Coordinator) begin() *term {
	ctx, cancel := context.WithCancel(c.ctx)
	t := &term{
		Coordinator: c, dog: newWatchdog(), told: map[identity.Address]telling{}, joined: map[identity.Address]uint64{},
		cancel: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(t.done)
		t.run(ctx)
	}()
	return t
}

func (t *term) end() {
	if t != nil {
		t.cancel()
		<-t.done
	}
}

func (t *term) run(ctx context.Context) {
	t.logger.Info("this coordinator leads")
	defer t.logger.Info("this coordinator no longer leads")
	now := t.raft.CurrentTerm()
	if err := t.raft.Barrier(0).Error(); err != nil {
		return // it leads no longer
	}
	t.caughtUp.Store(now)
	for len(t.reports) > 0 {
		<-t.reports // from before
	}
	t.fsm.takeAccused()
	tick := time.NewTicker(leadEvery)
	defer tick.Stop()
	for {
		changed := t.changed.wait()
		t.look(ctx, time.Now())
		select {
		case r := <-t.reports:
			t.dog.report(time.Now(), r.from, r.progress)
		case <-changed:
		case <-tick.C:
			t.follow(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// report is one member's progress on its way to the watchdog.
type report struct {
	from     identity.Address
	progress Progress
}

// Report takes what a member says of itself. Only the leader listens.
func (c *Coordinator) Report(from identity.Address, p Progress) {
	if c.raft.State() != raft.Leader {
		return
	}
	select {
	case c.reports <- report{from, p}:
	default: // the leader is behind; the next report is a second away
	}
}

// look expires who has fallen silent and looks after who was accused.
func (t *term) look(ctx context.Context, now time.Time) {
	v := t.View()
	p := phase{string(v.Phase), v.Round, v.Attempt}
	for _, accused := range t.fsm.takeAccused() {
		go t.probe(ctx, accused)
	}
	if v.Status == state.Waiting || v.Status == state.Halted || v.Status == state.Finished {
		return
	}
	for _, s := range t.dog.check(now, p, v.Awaited) {
		// A proposal that was not applied is made again, not at once.
		if last := t.told[s.member]; last.phase == p && now.Sub(last.at) < minPatience {
			continue
		}
		t.told[s.member] = telling{p, now}
		go t.expire(ctx, s, p, v.LogSize)
	}
}

// probe expires an accused that does not answer, if it is awaited.
func (t *term) probe(ctx context.Context, accused identity.Address) {
	if t.cfg.Probe == nil {
		return
	}
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := t.cfg.Probe(asking, accused); err == nil || ctx.Err() != nil {
		return
	}
	v := t.View()
	if slices.Contains(v.Awaited, accused) {
		t.expire(ctx, suspect{accused, "accused by a neighbour, does not answer the leader"}, phase{string(v.Phase), v.Round, v.Attempt}, v.LogSize)
	}
}

// expire proposes that a suspect fell silent in a phase, as of a log of size
// records.
func (t *term) expire(ctx context.Context, s suspect, p phase, size uint64) {
	t.logger.Warn("member expires", "member", s.member, "round", p.round, "attempt", p.attempt, "phase", p.name, "reason", s.reason)
	st := run.Expire{Round: p.round, Attempt: p.attempt, Size: size, Accused: s.member, Reason: s.reason}
	if err := t.say(ctx, st); err != nil {
		t.logger.Info("member not expired", "member", s.member, "reason", err)
	}
}

// follow moves raft's voters towards the run's coordinators, one step at a
// time: a new one listens first, and votes when it has signed as much of the
// log as there was when it began; who left is removed, the leader itself last.
func (t *term) follow(ctx context.Context) {
	future := t.raft.GetConfiguration()
	if future.Error() != nil {
		return
	}
	want := t.View().Coordinators
	have := map[identity.Address]raft.ServerSuffrage{}
	for _, s := range future.Configuration().Servers {
		a, err := identity.ParseAddress(string(s.ID))
		if err != nil {
			t.logger.Error("raft has a server that is no coordinator", "server", s.ID)
			continue
		}
		have[a] = s.Suffrage
	}
	step, err := t.step(want, have)
	if err != nil {
		t.logger.Warn("the group of coordinators does not follow yet", "step", step, "error", err)
	} else if step != "" {
		t.logger.Info("the group of coordinators follows the log", "step", step)
	}
}

func (t *term) step(want []identity.Address, have map[identity.Address]raft.ServerSuffrage) (string, error) {
	for _, a := range want {
		suffrage, ok := have[a]
		id, address := raft.ServerID(a.String()), raft.ServerAddress(a.String())
		if !ok {
			return fmt.Sprintf("%s listens", a), t.raft.AddNonvoter(id, address, 0, applyTimeout).Error()
		}
		if suffrage == raft.Voter {
			continue
		}
		if _, ok := t.joined[a]; !ok {
			t.joined[a] = t.records.Len()
		}
		if t.heads.latest(a) >= t.joined[a] {
			return fmt.Sprintf("%s votes", a), t.raft.AddVoter(id, address, 0, applyTimeout).Error()
		}
		return "", nil
	}
	for a := range have {
		if !slices.Contains(want, a) && a != t.self {
			return fmt.Sprintf("%s leaves", a), t.raft.RemoveServer(raft.ServerID(a.String()), 0, applyTimeout).Error()
		}
	}
	if !slices.Contains(want, t.self) {
		return fmt.Sprintf("%s leaves", t.self), t.raft.RemoveServer(raft.ServerID(t.self.String()), 0, applyTimeout).Error()
	}
	return "", nil
}
