package state

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// MaxSnapshotSize bounds a snapshot in bytes.
const MaxSnapshotSize = 64 << 20

// Snapshot returns the machine's whole state as canonical JSON. Records are
// not in it: whoever stores the log keeps them.
func (m *Machine) Snapshot() ([]byte, error) {
	b, err := canonical.Marshal(m.s)
	if err == nil && len(b) > MaxSnapshotSize {
		err = fmt.Errorf("%d bytes, at most %d are allowed", len(b), MaxSnapshotSize)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot of run %s: %w", m.id.Short(), err)
	}
	return b, nil
}

// Restore returns the machine of a run whose snapshot is b. It refuses one of
// another run, and one that breaks an invariant; it cannot tell whether the
// state ever was: compare [Machine.Log] with signed heads.
func Restore(spec run.Spec, b []byte) (*Machine, error) {
	m, err := New(spec)
	if err != nil {
		return nil, err
	}
	var s state
	if err := canonical.Unmarshal(b, &s, MaxSnapshotSize); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if s.Version != 1 {
		return nil, fmt.Errorf("snapshot: version %d is unknown; this build reads version 1", s.Version)
	}
	if s.Run != m.id {
		return nil, fmt.Errorf("snapshot: it belongs to run %s, not to %s", s.Run.Short(), m.id.Short())
	}
	if err := s.check(spec); err != nil {
		return nil, fmt.Errorf("snapshot of run %s: %w", m.id.Short(), err)
	}
	m.s = s
	return m, nil
}

// check verifies the invariants that the machine would panic on.
func (s *state) check(spec run.Spec) error {
	if len(s.Log.Edge) != bits.OnesCount64(s.Log.Size) || s.Log.Size >= 1<<53 {
		return fmt.Errorf("a log of %d records with %d subtrees", s.Log.Size, len(s.Log.Edge))
	}
	if err := s.Ledger.Check(); err != nil {
		return err
	}
	if len(s.Coordinators) == 0 || len(s.Signed) == 0 || len(s.Current.Spans) != len(s.Current.Roster) {
		return fmt.Errorf("no coordinator, no checkpoint, or spans that do not fit the roster")
	}
	if !s.underWay() && len(s.Ledger.Assigned) > 0 {
		return fmt.Errorf("samples are assigned though no round is open")
	}
	lists := [][]identity.Address{s.Accepted, s.Coordinators, s.Distrusted, s.Auditors, s.Late, s.Voters, s.Current.Roster, s.Current.Gone}
	for _, c := range slices.Concat(s.Due, s.Signed) {
		lists = append(lists, c.Contributors, c.Lost)
	}
	for _, list := range lists {
		if !slices.IsSortedFunc(list, identity.Address.Compare) {
			return fmt.Errorf("addresses are not sorted")
		}
	}
	if !slices.IsSortedFunc(s.Members, func(a, b Member) int { return a.Address.Compare(b.Address) }) {
		return fmt.Errorf("members are not sorted")
	}
	return s.checkRound(spec)
}

// checkRound verifies what is known about rounds: whoever contributes is in the
// roster and has committed to units of its span, and what a Rewind would return
// was consumed.
func (s *state) checkRound(spec run.Spec) error {
	c := s.Current
	for i, span := range c.Spans {
		if span.Member != i {
			return fmt.Errorf("span %d belongs to member %d", i, span.Member)
		}
	}
	for _, k := range c.Commits {
		i := slices.Index(c.Roster, k.Member)
		if i < 0 {
			return fmt.Errorf("a commit of %s, which is not in the roster", k.Member)
		}
		if _, err := run.ParseUnits(k.Commit.Rejected, c.Spans[i].Units(spec)); err != nil {
			return err
		}
	}
	for _, a := range c.Contributors {
		if _, ok := c.commit(a); !ok {
			return fmt.Errorf("contributor %s has not committed", a)
		}
	}
	if s.underWay() {
		taken := []run.Range{}
		for _, span := range c.Spans {
			taken = append(taken, span.Ranges...)
		}
		if _, err := s.Ledger.Consume(taken); err != nil || run.Count(taken) != run.Count(s.Ledger.Assigned) {
			return fmt.Errorf("the spans are not the samples that are assigned")
		}
	}
	ledger := s.Ledger
	for _, h := range s.History {
		var err error
		if ledger, err = ledger.Rewind(h.Consumed, h.Rejected); err != nil {
			return fmt.Errorf("closed round %d: %w", h.Round, err)
		}
	}
	for _, p := range s.Pending {
		if _, err := p.Signers(s.Run); err != nil {
			return err
		}
	}
	return nil
}
