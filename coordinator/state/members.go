package state

import (
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// judgeExpire takes a coordinator's word that somebody awaited is silent.
func (m *Machine) judgeExpire(by identity.Address, st run.Expire) (func(), error) {
	if !has(m.s.trusted(), by) {
		return nil, fmt.Errorf("only coordinators expire members")
	}
	if st.Round != m.s.Round || st.Attempt != m.s.Attempt {
		return nil, fmt.Errorf("it is about round %d, attempt %d; the run is at %d, %d", st.Round, st.Attempt, m.s.Round, m.s.Attempt)
	}
	if err := printable("reason", st.Reason, maxReason); err != nil {
		return nil, err
	}
	if !has(m.awaited(), st.Accused) {
		return nil, fmt.Errorf("%s is not awaited in phase %s", st.Accused.Short(), m.s.Phase)
	}
	if st.Size > m.s.Log.Size {
		return nil, fmt.Errorf("it is about a log of %d records; there are %d", st.Size, m.s.Log.Size)
	}
	if i := m.s.member(st.Accused); i >= 0 && m.s.Members[i].Spoke > st.Size {
		return nil, fmt.Errorf("%s has spoken since, in record %d", st.Accused.Short(), m.s.Members[i].Spoke-1)
	}
	return func() { m.expire(st.Accused, st.Reason) }, nil
}

// awaited returns those that the run waits for now, by address.
func (m *Machine) awaited() []identity.Address {
	var list []identity.Address
	switch m.s.Phase {
	case Gather:
		return m.missing()
	case Compute:
		list = m.uncommitted()
	case Reduce:
		list = m.unreported()
	case Again:
		list = m.notAgain()
	case End:
		list = m.unsigned()
	}
	out := []identity.Address{}
	for _, a := range list {
		out = with(out, a)
	}
	return out
}

// expire takes a member out until it says Ready again.
func (m *Machine) expire(a identity.Address, why string) {
	if i := m.s.member(a); i >= 0 {
		now := m.s.Members[i]
		now.Expired = why
		m.s.setMember(now)
	}
	m.leave(a)
	m.emit(run.Expired{Member: a, Reason: why})
}

// leave takes a out of everything under way.
func (m *Machine) leave(a identity.Address) {
	m.s.dropReady(a)
	m.s.Late = without(m.s.Late, a)
	if slices.Contains(m.s.Current.Roster, a) {
		m.s.Current.Gone = with(m.s.Current.Gone, a)
	}
	m.lose(a)
}

// equivocation returns what a second, different statement does to its signer,
// a member or a coordinator that was not caught before.
func (m *Machine) equivocation(s said, first digest.Sum) func() {
	return func() { m.distrust(s.by, s.Statement.Kind(), first, s.name) }
}

func (m *Machine) distrust(by identity.Address, kind string, first, second digest.Sum) {
	m.emit(run.Equivocation{Signer: by, Kind: kind, First: first, Second: second})
	if has(m.s.Coordinators, by) {
		m.s.Distrusted = with(m.s.Distrusted, by)
		return
	}
	now := m.s.Members[m.s.member(by)]
	now.Barred = true
	m.s.setMember(now)
	m.expire(by, "equivocation")
}

// checkMember reports why a Member statement cannot take effect.
func (m *Machine) checkMember(st run.Member) error {
	if st.Number != m.s.Changes+1 {
		return fmt.Errorf("number %d is not the next, %d", st.Number, m.s.Changes+1)
	}
	list, err := m.keys(st.Role)
	if err != nil {
		return err
	}
	enters := st.Subject
	switch st.Action {
	case run.Admit:
	case run.Remove, run.Rotate:
		if !has(list, st.Subject) {
			return fmt.Errorf("%s is no %s", st.Subject.Short(), st.Role)
		}
		enters = st.Successor
	default:
		return fmt.Errorf("unknown action %.20q", st.Action)
	}
	if (st.Action == run.Rotate) == st.Successor.IsZero() {
		return fmt.Errorf("rotate names a successor, and nothing else does")
	}
	if st.Action == run.Remove {
		if st.Role == run.RoleCoordinator && len(list) == 1 {
			return fmt.Errorf("the last coordinator cannot be removed")
		}
		return nil
	}
	return m.checkEntry(st, list, enters)
}

// checkEntry reports why a key cannot enter a role.
func (m *Machine) checkEntry(st run.Member, list []identity.Address, enters identity.Address) error {
	if enters.IsZero() {
		return fmt.Errorf("the zero address is nobody's")
	}
	again := st.Action == run.Admit && (m.barred(enters) && st.Role == run.RoleMember || has(m.s.Distrusted, enters) && st.Role == run.RoleCoordinator)
	if again {
		return nil
	}
	for _, role := range []string{run.RoleMember, run.RoleCoordinator, run.RoleAuditor} {
		if keys, _ := m.keys(role); has(keys, enters) {
			return fmt.Errorf("%s is already %s; one key has one role", enters.Short(), role)
		}
	}
	most := maxKnown
	if st.Role == run.RoleCoordinator {
		most = run.MaxCoordinators
	}
	if st.Action == run.Admit && len(list) >= most {
		return fmt.Errorf("there are %d %ss already, the most allowed", len(list), st.Role)
	}
	return nil
}

// keys returns the addresses that have a role.
func (m *Machine) keys(role string) ([]identity.Address, error) {
	switch role {
	case run.RoleMember:
		out := make([]identity.Address, len(m.s.Members))
		for i, k := range m.s.Members {
			out[i] = k.Address
		}
		return out, nil
	case run.RoleCoordinator:
		return m.s.Coordinators, nil
	case run.RoleAuditor:
		return m.s.Auditors, nil
	}
	return nil, fmt.Errorf("unknown role %.20q", role)
}

// change carries out a Member statement that passed checkMember.
func (m *Machine) change(st run.Member) {
	m.s.Changes++
	m.emit(run.Changed(st))
	enters, before := st.Subject, m.s
	if st.Action != run.Admit {
		m.remove(st.Role, st.Subject)
		enters = st.Successor
	}
	if enters.IsZero() {
		return
	}
	switch st.Role {
	case run.RoleMember:
		m.inherit(&before, st.Subject, enters)
		m.s.setMember(Member{Address: enters, Expired: m.expiredNow(enters), Spoke: m.s.Log.Size})
		m.regain(enters)
	case run.RoleCoordinator:
		m.s.Coordinators = with(m.s.Coordinators, enters)
		m.s.Accepted = with(m.s.Accepted, enters) // it has signed this
		m.s.Distrusted = without(m.s.Distrusted, enters)
	case run.RoleAuditor:
		m.s.Auditors = with(m.s.Auditors, enters)
	}
}

// inherit gives a successor the subject's place among those whose word is
// awaited: on the state that follows the last round, and on checkpoints.
func (m *Machine) inherit(before *state, subject, successor identity.Address) {
	if subject == successor {
		return
	}
	if has(before.Voters, subject) {
		m.s.Voters = with(m.s.Voters, successor)
	}
	if has(before.Late, subject) {
		m.s.Late = with(m.s.Late, successor)
	}
	m.s.Due = slices.Clone(m.s.Due)
	for i, c := range m.s.Due {
		if has(c.Contributors, subject) && c.Manifest.IsZero() {
			m.s.Due[i].Contributors = with(without(c.Contributors, subject), successor)
			m.s.Due[i].Lost = without(c.Lost, subject)
		}
	}
}

// expiredNow returns why a is expired; trust that returns does not make its
// machine answer.
func (m *Machine) expiredNow(a identity.Address) string {
	if i := m.s.member(a); i >= 0 {
		return m.s.Members[i].Expired
	}
	return ""
}

func (m *Machine) remove(role string, a identity.Address) {
	switch role {
	case run.RoleMember:
		m.s.Members = slices.DeleteFunc(slices.Clone(m.s.Members), func(x Member) bool { return x.Address == a })
		m.s.Voters = without(m.s.Voters, a)
		m.leave(a)
	case run.RoleCoordinator:
		m.s.Coordinators = without(m.s.Coordinators, a)
		m.s.Accepted = without(m.s.Accepted, a)
		m.s.Distrusted = without(m.s.Distrusted, a)
	case run.RoleAuditor:
		m.s.Auditors = without(m.s.Auditors, a)
	}
}
