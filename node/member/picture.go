package member

import (
	"slices"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// picture is what the covered log says, as far as a member needs it.
type picture struct {
	self     identity.Address
	spec     run.Spec
	admitted bool // self is a member
	barred   bool // self equivocated

	phase     state.Phase
	round     uint64 // under way, or gathered for
	highest   uint64
	attempt   uint64 // of the ring under way or next
	finishing bool
	finished  bool
	halted    string

	open         run.Open // the last one
	contributors []identity.Address
	gone         bool         // self is out of the round that was opened last
	excluded     bool         // self's last result was not the majority's: what it holds is in doubt
	pinned       digest.Sum   // root that the round gathered for starts from, if known
	closed       []closing    // not void, after the older signed checkpoint
	signed       []Checkpoint // the last two, oldest first; the first is of round 0
	due          []uint64     // rounds whose checkpoint is not signed yet
	said         []uint64     // rounds about whose checkpoint self has spoken
	ready        run.Ready    // self's last one among the entries just seen
	unheard      bool         // self was expired: its Ready must be said again
}

// closing is a closed round and what its checkpoint would state.
type closing struct {
	run.Closed
	scalars run.Scalars
	before  digest.Sum // state root at its start
	size    uint64     // of the log up to and with it
	root    digest.Sum
	parent  digest.Sum
	targets uint64 // so far
}

func newPicture(self identity.Address, spec run.Spec) picture {
	return picture{
		self: self, spec: spec, admitted: slices.Contains(spec.Members, self),
		phase: state.Gather, round: 1, pinned: spec.InitialState,
		signed: []Checkpoint{{State: spec.InitialState}},
	}
}

// see takes one log entry and returns what people or the disk must know at
// once.
func (p *picture) see(e state.Entry) []Action {
	if e.Statement != nil && e.Signer == p.self {
		p.seeOwn(e.Statement.Statement)
	}
	switch t := e.Transition.(type) {
	case run.Open:
		p.phase, p.attempt, p.highest, p.open = state.Compute, 0, t.Round, t
		p.gone, p.pinned, p.contributors = false, digest.Sum{}, nil
	case run.Ring:
		p.phase, p.attempt, p.contributors = state.Reduce, t.Attempt, t.Contributors
	case run.Aborted:
		p.phase, p.attempt = state.Again, t.Attempt+1
		if slices.Contains(t.Excluded, p.self) {
			p.gone, p.excluded = true, true
			return []Action{DropContribution{t.Round}}
		}
	case run.Closed:
		p.seeClosed(t, e)
	case run.Skipped:
		p.pinned = p.open.State
		p.gather()
		return p.drop(t.Round)
	case run.Finishing:
		p.finishing = true
		if t.Round != p.open.Round || p.phase == state.Gather {
			p.phase = state.End
			p.addDue(t.Round)
		}
	case run.Rewound:
		return p.seeRewound(t)
	case run.Expired:
		return p.seeExpired(t)
	case run.Halted:
		p.halted = t.Reason
		return []Action{Halted{t.Reason}}
	case run.Resumed:
		p.halted = ""
	case run.Finished:
		p.finished = true
	case run.CheckpointSigned:
		return p.seeSigned(t)
	case run.Changed:
		return p.seeChanged(t)
	case run.Equivocation:
		if t.Signer == p.self {
			p.barred = true
			return []Action{Removed{"this key said two different things; its run's coordinators must admit it again"}}
		}
	}
	return nil
}

// seeOwn notes what self has said: in this life, or in one that its disk
// remembers nothing of.
func (p *picture) seeOwn(s run.Statement) {
	switch st := s.(type) {
	case run.Ready:
		p.ready = st
	case run.Checkpoint:
		p.said = append(p.said, st.Round)
	}
}

func (p *picture) gather() {
	p.phase, p.round, p.attempt = state.Gather, p.highest+1, 0
	if p.finishing {
		p.phase = state.End
	}
}

func (p *picture) seeClosed(t run.Closed, e state.Entry) {
	c := closing{
		Closed: t, scalars: p.open.Scalars, before: p.open.State,
		size: e.Index + 1, root: e.Root, parent: p.signed[len(p.signed)-1].Manifest, targets: t.Targets,
	}
	if n := len(p.closed); n > 0 {
		c.targets += p.closed[n-1].targets
	} else {
		c.targets += p.signed[0].targets
	}
	p.closed = append(p.closed, c)
	if t.Checkpoint {
		p.addDue(t.Round)
	}
	p.gather()
	if t.Step >= uint64(p.spec.Rounds) {
		p.phase = state.End
	}
}

func (p *picture) addDue(round uint64) {
	_, signed := p.signedAt(round)
	if !signed && !slices.Contains(p.due, round) && p.closedAt(round) >= 0 {
		p.due = append(p.due, round)
	}
}

// drop forgets self's contribution to a round.
func (p *picture) drop(round uint64) []Action {
	if slices.Contains(p.open.Roster, p.self) && p.open.Round == round {
		return []Action{DropContribution{round}}
	}
	return nil
}

func (p *picture) seeRewound(t run.Rewound) []Action {
	out := []Action{}
	for _, c := range p.closed {
		if c.Round > t.Round && slices.Contains(c.Contributors, p.self) {
			out = append(out, DropContribution{c.Round})
		}
	}
	p.closed = slices.DeleteFunc(p.closed, func(c closing) bool { return c.Round > t.Round })
	p.signed = slices.DeleteFunc(p.signed, func(c Checkpoint) bool { return c.Round > t.Round })
	p.due = slices.DeleteFunc(p.due, func(r uint64) bool { return r > t.Round })
	p.pinned = t.State
	p.gather()
	return out
}

func (p *picture) seeExpired(t run.Expired) []Action {
	if t.Member != p.self {
		return nil
	}
	p.unheard = true
	if p.phase == state.Gather || p.phase == state.End || p.gone {
		return nil
	}
	p.gone = true
	return p.drop(p.open.Round)
}

func (p *picture) seeSigned(t run.CheckpointSigned) []Action {
	targets := p.signed[len(p.signed)-1].targets
	if i := p.closedAt(t.Round); i >= 0 {
		targets = p.closed[i].targets
	}
	p.signed = append(p.signed, Checkpoint{Round: t.Round, State: t.State, Manifest: t.Manifest, targets: targets})
	p.signed = p.signed[max(0, len(p.signed)-2):]
	p.due = slices.DeleteFunc(p.due, func(r uint64) bool { return r <= t.Round })
	oldest := p.signed[0].Round
	p.said = slices.DeleteFunc(p.said, func(r uint64) bool { return r <= oldest })
	p.closed = slices.DeleteFunc(p.closed, func(c closing) bool { return c.Round <= oldest })
	return []Action{Prune{oldest}}
}

func (p *picture) seeChanged(t run.Changed) []Action {
	if t.Role != run.RoleMember {
		return nil
	}
	switch {
	case t.Subject == p.self && t.Action == run.Admit, t.Successor == p.self:
		p.admitted, p.barred, p.unheard = true, false, true
	case t.Subject == p.self:
		p.admitted, p.gone = false, true
		return append(p.drop(p.open.Round), Removed{"the run's coordinators took this key out of the run"})
	}
	return nil
}

// closedAt returns the index in closed of a round, or -1.
func (p *picture) closedAt(round uint64) int {
	return slices.IndexFunc(p.closed, func(c closing) bool { return c.Round == round })
}

func (p *picture) signedAt(round uint64) (Checkpoint, bool) {
	i := slices.IndexFunc(p.signed, func(c Checkpoint) bool { return c.Round == round })
	if i < 0 {
		return Checkpoint{}, false
	}
	return p.signed[i], true
}

// target returns the last closed round that is not void; 0 if there is none.
func (p *picture) target() uint64 {
	if n := len(p.closed); n > 0 {
		return p.closed[n-1].Round
	}
	return p.signed[len(p.signed)-1].Round
}

// counts reports whether the state after a round is on the run's lineage and
// can still be continued from.
func (p *picture) counts(round uint64) bool {
	_, signed := p.signedAt(round)
	return signed || p.closedAt(round) >= 0
}

// next returns the closed round that follows a state.
func (p *picture) next(round uint64) (closing, bool) {
	for _, c := range p.closed {
		if c.Round > round {
			return c, true
		}
	}
	return closing{}, false
}

// rootAfter returns the state root after a closed round, if the log names it.
func (p *picture) rootAfter(round uint64) (digest.Sum, bool) {
	if c, ok := p.signedAt(round); ok {
		return c.State, true
	}
	if c, ok := p.next(round); ok {
		return c.before, true
	}
	if round != p.target() {
		return digest.Sum{}, false
	}
	if p.underWay() {
		return p.open.State, true
	}
	return p.pinned, !p.pinned.IsZero()
}

func (p *picture) underWay() bool {
	return p.phase == state.Compute || p.phase == state.Reduce || p.phase == state.Again
}

// rank returns self's place in the roster, or -1 if it takes no part in the
// round under way.
func (p *picture) rank() int {
	if p.gone || !p.underWay() {
		return -1
	}
	return slices.Index(p.open.Roster, p.self)
}
