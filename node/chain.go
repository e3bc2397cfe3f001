package node

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// chain is a member's copy of the log: records on disk as far as k
// coordinators' heads cover them, and those after, in memory, applied but not
// acted on.
//
// Invariant: records.Len() + len(tail) == follower.Size().
type chain struct {
	spec     run.Spec
	id       run.ID
	records  *coordinator.Records
	follower *state.Follower
	heads    *state.HeadSet
	kept     map[headKey]run.Signed // heads of what is not covered: replay forgets them, and what they are about may come later
	tail     []state.Entry
	consumed map[uint64]uint64 // samples consumed or rejected up to and with a closed round
}

// openChain replays the log on disk and returns its entries.
func openChain(spec run.Spec, path string) (*chain, []state.Entry, error) {
	id, err := spec.ID()
	if err != nil {
		return nil, nil, err
	}
	records, err := coordinator.OpenRecords(path)
	if err != nil {
		return nil, nil, err
	}
	c := &chain{spec: spec, id: id, records: records, kept: map[headKey]run.Signed{}}
	entries, err := c.replay()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w; move the file away and start again: the log is fetched anew", path, err), records.Close())
	}
	return c, entries, nil
}

// replay derives everything but records from records.
func (c *chain) replay() ([]state.Entry, error) {
	machine, err := state.New(c.spec)
	if err != nil {
		return nil, err
	}
	c.follower, c.heads, c.tail = state.Follow(machine), state.NewHeadSet(c.id, c.spec.Coordinators), nil
	c.consumed = map[uint64]uint64{}
	var entries []state.Entry
	for n := uint64(0); n < c.records.Len(); {
		batch, _, err := c.records.Read(n, followBatch)
		if err != nil {
			return nil, err
		}
		for _, b := range batch {
			e, err := c.next(b)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
		n += uint64(len(batch))
	}
	return entries, c.follower.End()
}

// next applies a record and tells the heads what it led to.
func (c *chain) next(b []byte) (state.Entry, error) {
	e, err := c.follower.Next(b)
	if err != nil {
		return e, err
	}
	machine := c.follower.Machine()
	if closed, ok := e.Transition.(run.Closed); ok {
		l := machine.View().Ledger
		c.consumed[closed.Round] = run.Count(l.Consumed) + run.Count(l.Rejected)
	}
	if size, root := machine.Log(); size == c.follower.Size() {
		err = c.heads.Derived(size, root, machine.View().Coordinators)
		for key, head := range c.kept {
			if key.size == size && err == nil {
				err = fork(c.heads.Add(head))
			}
		}
	}
	return e, err
}

// maxKept bounds the heads that a chain keeps of one coordinator, and of all
// others together.
const maxKept = 256

// headKey names a kept head.
type headKey struct {
	by   identity.Address
	size uint64
}

// head takes a signed head. A head that cannot be placed yet, or of whom is not
// known yet to be a coordinator, waits for the log to grow. It fails with
// [errFalse] or a [*state.Fork].
func (c *chain) head(s run.Signed) error {
	h, ok := s.Statement.(run.Head)
	if signers, err := s.Signers(c.id); ok && err == nil && len(signers) == 1 {
		key := headKey{signers[0], h.Index}
		near := h.Index > c.records.Len() && h.Index <= c.follower.Size()+maxKept
		known := slices.Contains(c.view().Coordinators, key.by)
		if _, have := c.kept[key]; !have && near && (known || len(c.kept) < maxKept) {
			c.kept[key] = s
		}
	}
	return c.settle(fork(c.heads.Add(s)))
}

// errFalse says that records which are not covered were false. They are gone;
// whoever told them should be left.
var errFalse = errors.New("k coordinators signed another log than these records make")

// settle decides what a fork means. What k coordinators signed against records
// that nobody covers shows that one of them told this process a false log, not
// that there are two.
func (c *chain) settle(err error) error {
	var f *state.Fork
	if !errors.As(err, &f) || f.Size <= c.records.Len() || c.twice(f) {
		return err
	}
	if _, err := c.replay(); err != nil {
		return err
	}
	for _, head := range c.kept {
		if err := fork(c.heads.Add(head)); err != nil {
			return err
		}
	}
	return errFalse
}

// twice reports whether k coordinators signed each of two logs.
func (c *chain) twice(f *state.Fork) bool {
	votes := map[digest.Sum]int{}
	for _, s := range f.Heads {
		votes[s.Statement.(run.Head).Root]++
	}
	n := 0
	for _, v := range votes {
		if v >= run.Threshold(len(c.view().Coordinators)) {
			n++
		}
	}
	return n > 1
}

// fork returns err if it is one that nobody may go on after.
func fork(err error) error {
	if errors.As(err, new(*state.Fork)) {
		return err
	}
	return nil
}

// take takes record number n from a peer. What differs from a record that is
// not covered yet replaces it and all that follow: some coordinator lies, and
// the heads will say which. It fails with [errFalse] or a [*state.Fork], or
// when the record does not follow.
func (c *chain) take(n uint64, b []byte) error { return c.settle(c.insert(n, b)) }

func (c *chain) insert(n uint64, b []byte) error {
	have := c.records.Len()
	if n < have {
		return nil // was covered while it was on its way
	}
	if i := n - have; i < uint64(len(c.tail)) {
		if bytes.Equal(c.tail[i].Bytes, b) {
			return nil
		}
		keep := c.tail[:i]
		if _, err := c.replay(); err != nil {
			return err
		}
		for _, e := range keep {
			if err := c.extend(e.Bytes); err != nil {
				return err
			}
		}
	}
	if size := have + uint64(len(c.tail)); n != size {
		return fmt.Errorf("record %d, want %d", n, size)
	}
	return c.extend(b)
}

func (c *chain) extend(b []byte) error {
	e, err := c.next(b)
	var fork *state.Fork
	if err != nil && !errors.As(err, &fork) {
		return err
	}
	c.tail = append(c.tail, e)
	return err
}

// cover makes durable and returns the entries that k heads cover by now.
func (c *chain) cover() ([]state.Entry, error) {
	have, covered := c.records.Len(), c.heads.Covered()
	if covered <= have {
		return nil, nil
	}
	entries := c.tail[:covered-have]
	var records [][]byte
	for _, e := range entries {
		records = append(records, e.Bytes)
	}
	if err := c.records.Append(have, records...); err != nil {
		return nil, fmt.Errorf("keeping the log: %w; mend the disk and start again: what is missing is fetched", err)
	}
	c.tail = c.tail[covered-have:]
	maps.DeleteFunc(c.kept, func(key headKey, _ run.Signed) bool { return key.size <= covered })
	return entries, nil
}

// view returns the run as the log says it, with what is not covered yet.
func (c *chain) view() state.View { return c.follower.Machine().View() }

// roles returns who is who, as the log says. The peers that the operator named
// pass for coordinators until the log says what they are: a peer that is behind
// may not know yet who has been taken in. A founder that the log no longer
// names has left.
func roles(spec run.Spec, v state.View, named []identity.Address) func(identity.Address) Role {
	who := map[identity.Address]Role{}
	for _, a := range named {
		if !slices.Contains(spec.Coordinators, a) {
			who[a] = RoleCoordinator
		}
	}
	for _, a := range v.Auditors {
		who[a] = RoleAuditor
	}
	for _, m := range v.Members {
		who[m.Address] = RoleMember
	}
	for _, a := range v.Coordinators {
		who[a] = RoleCoordinator
	}
	return func(a identity.Address) Role { return who[a] }
}
