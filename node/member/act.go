package member

import (
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/run"
)

// act returns what brings this process closer to what the log says.
func (m *Member) act() []Action {
	var out []Action
	if m.job != nil && m.moot() {
		out = append(out, Cancel{jobOf(m.job)})
		switch m.job.(type) {
		case Apply, Restore:
			m.held = nil
		}
		m.job = nil
	}
	if m.log.finished && m.outside() {
		if m.job != nil {
			out = append(out, Cancel{jobOf(m.job)})
		}
		m.job, m.ended = nil, true
		return append(out, Finish{m.log.target()})
	}
	if m.outside() {
		return out
	}
	for m.job == nil && !m.blocked && !m.ended {
		next := m.sync()
		if next == nil && m.trusts() {
			next = m.takePart()
		}
		if next == nil {
			return out
		}
		out = append(out, next...)
	}
	return out
}

// outside reports whether self takes no part in the run.
func (m *Member) outside() bool { return !m.log.admitted || m.log.barred }

// moot reports whether the log has made the job under way useless.
func (m *Member) moot() bool {
	switch job := m.job.(type) {
	case Restore:
		return !m.log.counts(job.Checkpoint.Round)
	case FetchReduced:
		return m.log.closedAt(job.Round) < 0
	case Apply:
		return !m.log.counts(job.Round)
	case WriteCheckpoint:
		return !m.log.counts(job.Round)
	case Compute:
		return m.log.phase != state.Compute || m.log.open.Round != job.Round || m.log.rank() < 0
	case Ring:
		return m.log.phase != state.Reduce || m.log.open.Round != job.Round || m.log.attempt != job.Attempt || m.log.rank() < 0
	}
	return false
}

// sync returns the next step towards holding the state after the last closed
// round, with the checkpoints on the way; nil if nothing is missing.
func (m *Member) sync() []Action {
	if m.held != nil && !m.log.counts(m.held.round) {
		m.held = nil // void, or too old to continue from
	}
	if m.held != nil {
		if want, ok := m.log.rootAfter(m.held.round); ok && want != m.held.root {
			if next := m.dissent(); next != nil || m.log.halted != "" {
				return next // halted: the coordinators may find that the log's root is the false one
			}
			if why := m.mistrust(); m.wrong == maxWrong {
				m.ended = true
				return []Action{Diverged{fmt.Sprintf("%s has root %s here and %s in the log, %d times now: check this machine's memory, and that it runs the same version as the others", why, m.held.root, want, m.wrong)}}
			}
			m.held = nil
		}
	}
	if m.held == nil {
		return m.start(Restore{Job: m.number(), Checkpoint: m.best()})
	}
	if next := m.keep(); next != nil {
		return next
	}
	c, behind := m.log.next(m.held.round)
	if !behind {
		return nil
	}
	if !slices.Contains(m.reduced, c.Reduced) {
		return m.start(FetchReduced{m.number(), c.Round, c.Reduced, c.Contributors})
	}
	return m.start(Apply{
		Job: m.number(), Round: c.Round, Step: c.Step, Reduced: c.Reduced, Targets: c.Targets,
		Scalars: c.scalars, Observer: !slices.Contains(c.Contributors, m.log.self),
	})
}

// trusts reports whether the log names no other root for the state held.
func (m *Member) trusts() bool {
	want, ok := m.log.rootAfter(m.held.round)
	return !ok || want == m.held.root
}

// dissent says what a contributor that has applied a round itself found, before
// it believes the log's other root: those who agreed on that may have been few.
func (m *Member) dissent() []Action {
	if !m.held.own {
		return nil
	}
	if !m.spoken(m.held.round) {
		if next := m.keep(); next != nil {
			return next
		}
	}
	if m.held.round != m.log.target() || m.log.phase == state.End || m.log.finished {
		return nil
	}
	return m.sayReady(m.log.round, 0)
}

// mistrust counts that the state held is not what the log names, and forgets
// the checkpoint of it. It returns what the state is.
func (m *Member) mistrust() string {
	if m.wrong == 0 || m.wrongAt != m.held.round {
		m.wrong, m.wrongAt = 0, m.held.round
	}
	m.wrong++
	m.written = slices.DeleteFunc(m.written, func(c Checkpoint) bool { return c.Round == m.held.round })
	return fmt.Sprintf("the state after round %d", m.held.round)
}

// best returns the newest checkpoint that the log vouches for: a signed one,
// or one of this disk whose root the log names.
func (m *Member) best() Checkpoint {
	best := m.log.signed[len(m.log.signed)-1]
	for _, c := range m.written {
		root, ok := m.log.rootAfter(c.Round)
		if ok && root == c.State && m.log.counts(c.Round) && c.Round >= best.Round {
			c.Local = true
			best = c
		}
	}
	return best
}

// keep writes and signs the checkpoint of the state held, if one is due or is
// among those that members keep.
func (m *Member) keep() []Action {
	round := m.held.round
	due, i := slices.Contains(m.log.due, round), m.log.closedAt(round)
	if _, signed := m.log.signedAt(round); i < 0 || !due && !signed {
		return nil
	}
	w := slices.IndexFunc(m.written, func(c Checkpoint) bool { return c.Round == round && c.State == m.held.root })
	if w < 0 {
		c := m.log.closed[i]
		return m.start(WriteCheckpoint{
			Job: m.number(), Round: round, Step: c.Step, State: m.held.root,
			Parent: c.parent, LogSize: c.size, LogRoot: c.root, Targets: c.targets,
		})
	}
	want, _ := m.log.rootAfter(round)
	if m.spoken(round) || !due && want == m.held.root {
		return nil
	}
	m.checkpoints = append(m.checkpoints, round)
	if c := m.checkpoint; c != nil && c.Round == round {
		return []Action{Submit{*c}} // signed before: it may be on its way
	}
	return []Action{Submit{run.Checkpoint{Round: round, Manifest: m.written[w].Manifest, State: m.held.root}}}
}

// spoken reports whether self has signed a checkpoint of a round: another one
// would be equivocation.
func (m *Member) spoken(round uint64) bool {
	return slices.Contains(m.checkpoints, round) || slices.Contains(m.log.said, round)
}

// takePart returns what a member that holds the right state does in the phase
// the run is in.
func (m *Member) takePart() []Action {
	p := &m.log
	committed := m.commit != nil && m.commit.Round == p.open.Round
	switch {
	case p.finished:
		m.ended = true
		return []Action{Finish{p.target()}}
	case p.phase == state.End:
		return nil
	case p.phase == state.Gather:
		return m.sayReady(p.round, 0)
	case p.rank() < 0:
		return m.sayReady(p.open.Round, 0)
	case p.phase == state.Compute && !committed:
		return m.start(Compute{m.number(), p.open.Round, p.open.State, p.open.Spans[p.rank()]})
	case !committed || !m.vector:
		return nil // the round goes on without it
	case m.sent != *m.commit:
		m.sent = *m.commit
		return []Action{Submit{m.sent}}
	case p.phase == state.Compute || !slices.Contains(p.contributors, p.self):
		return nil
	case p.phase == state.Again:
		return m.sayReady(p.open.Round, p.attempt)
	case p.phase == state.Reduce:
		return m.reduce()
	}
	return nil
}

func (m *Member) reduce() []Action {
	p := &m.log
	this := func(r run.Result) bool { return r.Round == p.open.Round && r.Attempt == p.attempt }
	switch {
	case m.result != nil && this(*m.result) && m.resulted != *m.result:
		m.resulted = *m.result
		return []Action{Submit{m.resulted}}
	case this(m.resulted) || this(m.faulted):
		return nil
	}
	return m.start(Ring{
		Job: m.number(), Round: p.open.Round, Attempt: p.attempt, Contributors: p.contributors,
		Digest: run.ContributorsDigest(p.open.Round, p.attempt, p.contributors), Rank: slices.Index(p.contributors, p.self),
	})
}

// sayReady says Ready once for a round, an attempt and a state.
func (m *Member) sayReady(round, attempt uint64) []Action {
	r := run.Ready{Round: round, Attempt: attempt, State: m.held.root}
	if m.ready == r {
		return nil
	}
	m.ready = r
	return []Action{Submit{r}}
}

// number returns the next job's number.
func (m *Member) number() uint64 {
	m.lastJob++
	return m.lastJob
}

// start makes a job the one under way.
func (m *Member) start(job Action) []Action {
	m.job = job
	return []Action{job}
}
