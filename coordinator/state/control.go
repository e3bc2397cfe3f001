package state

import (
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// judgeVote takes one or more signatures under a statement that needs those of
// k coordinators. A signature is out for good: it holds until the number that
// the statement carries is used, by this one or another.
func (m *Machine) judgeVote(s said) (func(), error) {
	if err := m.checkVote(s.Statement); err != nil {
		return nil, err
	}
	consent := m.enters(s.Statement)
	var have []identity.Address
	behind := map[identity.Address]int{} // other pending statements of the kind that it signed
	for _, p := range m.s.Pending {
		signers, _ := p.Signers(m.id)
		if p.Statement == s.Statement {
			have = signers
		} else if p.Statement.Kind() == s.Statement.Kind() {
			for _, a := range signers {
				behind[a]++
			}
		}
	}
	proposed := len(have) > 0
	for _, a := range s.signers {
		switch {
		case has(m.s.trusted(), a):
			proposed = true
			if behind[a] >= maxVotes && !has(have, a) {
				return nil, fmt.Errorf("%s stands behind %d other %s statements already, and that is the most; they hold until their number is used", a.Short(), maxVotes, s.Statement.Kind())
			}
		case a != consent:
			return nil, fmt.Errorf("%s is no coordinator whose signature counts", a.Short())
		}
	}
	if !proposed {
		return nil, fmt.Errorf("no coordinator has signed it yet")
	}
	if !slices.ContainsFunc(s.signers, func(a identity.Address) bool { return !has(have, a) }) {
		return nil, nil
	}
	return func() { m.vote(s) }, nil
}

// enters returns the key that becomes a coordinator by s and was none: nobody
// is named without consent, so it must sign, too. Zero if there is none.
func (m *Machine) enters(s run.Statement) identity.Address {
	st, ok := s.(run.Member)
	if !ok || st.Role != run.RoleCoordinator {
		return identity.Address{}
	}
	a := st.Subject
	if st.Action == run.Rotate {
		a = st.Successor
	}
	if st.Action == run.Remove || has(m.s.Coordinators, a) {
		return identity.Address{}
	}
	return a
}

// checkVote reports why a statement that needs k signatures cannot take effect
// here and now.
func (m *Machine) checkVote(s run.Statement) error {
	if m.s.Finished {
		return fmt.Errorf("the run is finished")
	}
	switch st := s.(type) {
	case run.Member:
		return m.checkMember(st)
	case run.Control:
		return m.checkControl(st)
	case run.Rewind:
		return m.checkRewind(st)
	}
	return fmt.Errorf("%s needs no vote", s.Kind())
}

// vote adds signatures to those under the same statement.
func (m *Machine) vote(s said) {
	i := slices.IndexFunc(m.s.Pending, func(p run.Signed) bool { return p.Statement == s.Statement })
	if i < 0 {
		m.s.Pending = append(slices.Clone(m.s.Pending), s.Signed)
		return
	}
	old := m.s.Pending[i]
	signers, err := old.Signers(m.id)
	if err != nil {
		panic("state: a pending signature does not verify: " + err.Error())
	}
	votes := map[identity.Address]identity.Signature{}
	for j, a := range signers {
		votes[a] = old.Signatures[j]
	}
	for j, a := range s.signers {
		votes[a] = s.Signatures[j]
	}
	merged := run.Signed{Statement: s.Statement}
	for _, a := range sortedKeys(votes) {
		merged.Signatures = append(merged.Signatures, votes[a])
	}
	m.s.Pending = slices.Clone(m.s.Pending)
	m.s.Pending[i] = merged
}

func sortedKeys[V any](votes map[identity.Address]V) []identity.Address {
	out := []identity.Address{}
	for a := range votes {
		out = with(out, a)
	}
	return out
}

// count carries out the first pending statement that has k signatures of
// coordinators that count now.
func (m *Machine) count() bool {
	for i, p := range m.s.Pending {
		signers, err := p.Signers(m.id)
		if err != nil {
			panic("state: a pending signature does not verify: " + err.Error())
		}
		n := 0
		for _, a := range signers {
			if has(m.s.trusted(), a) {
				n++
			}
		}
		if err := m.checkVote(p.Statement); err != nil {
			m.s.Pending = slices.Delete(slices.Clone(m.s.Pending), i, i+1) // what it asked for has come about, or cannot
			return true
		}
		consent := m.enters(p.Statement)
		if n < run.Threshold(len(m.s.Coordinators)) || !consent.IsZero() && !has(signers, consent) {
			continue
		}
		m.s.Pending = slices.DeleteFunc(slices.Clone(m.s.Pending), func(q run.Signed) bool { return q.Statement.Kind() == p.Statement.Kind() })
		m.carryOut(p.Statement)
		return true
	}
	return false
}

func (m *Machine) carryOut(s run.Statement) {
	switch st := s.(type) {
	case run.Member:
		m.change(st)
	case run.Control:
		m.control(st)
	case run.Rewind:
		m.rewind(st)
	}
}

func (m *Machine) checkControl(st run.Control) error {
	if st.Number != m.s.Controls+1 {
		return fmt.Errorf("number %d is not the next, %d", st.Number, m.s.Controls+1)
	}
	switch {
	case st.Action == run.Pause && m.s.Held:
		return fmt.Errorf("the run is paused already")
	case st.Action == run.Resume && !m.s.Held && m.s.Halted == "":
		return fmt.Errorf("the run is neither paused by its coordinators nor halted")
	case st.Action == run.Finish && (m.s.Finish || m.s.Phase == End):
		return fmt.Errorf("the run is finishing already")
	case st.Action != run.Pause && st.Action != run.Resume && st.Action != run.Finish:
		return fmt.Errorf("unknown action %.20q", st.Action)
	}
	return nil
}

func (m *Machine) control(st run.Control) {
	m.s.Controls++
	switch st.Action {
	case run.Pause:
		m.s.Held = true
		m.emit(run.Paused{Reason: "by the coordinators"})
	case run.Resume:
		m.s.Held, m.s.Halted, m.s.Short = false, "", ""
		m.emit(run.Resumed{})
	case run.Finish:
		m.s.Finish = true
		if m.s.underWay() {
			m.emit(run.Finishing{Round: m.s.Round})
			return
		}
		m.endHere()
	}
}

// endHere makes the last closed round the last of the run.
func (m *Machine) endHere() {
	m.emit(run.Finishing{Round: m.s.Last.Round})
	m.s.Phase, m.s.Round, m.s.Attempt = End, m.s.Last.Round, 0
	m.s.Ready, m.s.Short = []Readiness{}, ""
	known := func(c Checkpoint) bool { return c.Round == m.s.Last.Round }
	if !slices.ContainsFunc(m.s.Signed, known) && !slices.ContainsFunc(m.s.Due, known) {
		m.due()
	}
}

// checkRewind allows the last two signed checkpoints: members keep no others.
func (m *Machine) checkRewind(st run.Rewind) error {
	if st.Number != m.s.Rewinds+1 {
		return fmt.Errorf("number %d is not the next, %d", st.Number, m.s.Rewinds+1)
	}
	c, ok := m.s.signed(st.Round)
	if !ok {
		return fmt.Errorf("round %d has none of the last two signed checkpoints", st.Round)
	}
	if c.Manifest != st.Manifest {
		return fmt.Errorf("the signed checkpoint of round %d has manifest %s", st.Round, c.Manifest)
	}
	return nil
}

func (m *Machine) rewind(st run.Rewind) {
	m.s.Rewinds++
	c, _ := m.s.signed(st.Round)
	if m.s.underWay() {
		m.dropRound("rewound")
	}
	void, history := []uint64{}, []past{}
	for _, h := range m.s.History {
		if h.Round <= st.Round {
			history = append(history, h)
			continue
		}
		ledger, err := m.s.Ledger.Rewind(h.Consumed, h.Rejected)
		if err != nil {
			panic("state: ledger invariant broken: " + err.Error())
		}
		m.s.Ledger, void = ledger, append(void, h.Round)
	}
	after := func(x Checkpoint) bool { return x.Round > st.Round }
	m.s.History = history
	m.s.Due = slices.DeleteFunc(slices.Clone(m.s.Due), after)
	m.s.Signed = slices.DeleteFunc(slices.Clone(m.s.Signed), after)
	m.s.Last, m.s.Step, m.s.Skips = c.Closing, c.Step, 0
	m.s.Pinned, m.s.Heard = c.State, []Readiness{}
	m.emit(run.Rewound{Round: c.Round, Step: c.Step, State: c.State, Void: void})
	m.gatherNext()
	if m.s.Finish {
		m.endHere()
	}
}

// signed returns the signed checkpoint of a round, if it is one of the last
// two.
func (s *state) signed(round uint64) (Checkpoint, bool) {
	for _, c := range s.Signed {
		if c.Round == round {
			return c, true
		}
	}
	return Checkpoint{}, false
}

// judgeHead takes a Head only as evidence: one that contradicts the log.
func (m *Machine) judgeHead(s said, st run.Head) (func(), error) {
	if !has(m.s.Coordinators, s.by) {
		return nil, fmt.Errorf("only coordinators sign heads")
	}
	for _, r := range m.s.Roots {
		if r.Size == st.Index && r.Root != st.Root {
			root := r.Root
			return func() { m.distrust(s.by, "Head", root, st.Root) }, nil
		}
	}
	return nil, fmt.Errorf("heads travel beside the log; only one that contradicts its last %d sizes is evidence", maxRoots)
}
