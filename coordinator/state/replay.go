package state

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/allmend-network/allmend/verify/run"
)

// Follower takes a log's records one by one, applies the statements and
// demands that every transition is, byte for byte, the one that follows.
type Follower struct {
	machine *Machine
	due     []Entry // transitions that must come next
}

// Follow returns a follower that continues a log at m. It owns m from then on.
func Follow(m *Machine) *Follower { return &Follower{machine: m} }

// Machine returns the followed state: as of the last statement, with all its
// transitions, whether they have come already or not.
func (f *Follower) Machine() *Machine { return f.machine }

// Size returns the number of records that were taken, and that follow already.
func (f *Follower) Size() uint64 { return f.machine.s.Log.Size - uint64(len(f.due)) }

// Next takes the log's next record.
func (f *Follower) Next(record []byte) (Entry, error) {
	if len(f.due) > 0 {
		e := f.due[0]
		if !bytes.Equal(e.Bytes, record) {
			return Entry{}, fmt.Errorf("log record %d: it is not the %s that follows from the records before it", e.Index, e.Transition.Name())
		}
		f.due = f.due[1:]
		return e, nil
	}
	r, err := run.ParseRecord(f.machine.id, record)
	if err != nil {
		return Entry{}, err
	}
	if size := f.machine.s.Log.Size; r.Index != size {
		return Entry{}, fmt.Errorf("log record %d stands where record %d is due", r.Index, size)
	}
	if r.Statement == nil {
		return Entry{}, fmt.Errorf("log record %d: no %s follows from the records before it", r.Index, r.Transition.Name())
	}
	entries, err := f.machine.Apply(*r.Statement)
	if err != nil {
		return Entry{}, fmt.Errorf("log record %d: %w", r.Index, err)
	}
	if len(entries) == 0 {
		return Entry{}, fmt.Errorf("log record %d: the statement was there before", r.Index)
	}
	f.due = entries[1:]
	return entries[0], nil
}

// End fails when the log stops between a statement and a transition that
// follows from it.
func (f *Follower) End() error {
	if len(f.due) > 0 {
		return fmt.Errorf("the log ends at record %d, before the %s that follows from it", f.Size(), f.due[0].Transition.Name())
	}
	return nil
}

// Replay applies a whole log from its first record.
func Replay(spec run.Spec, records iter.Seq2[[]byte, error]) (*Machine, error) {
	m, err := New(spec)
	if err != nil {
		return nil, err
	}
	f := Follow(m)
	for b, err := range records {
		if err != nil {
			return nil, err
		}
		if _, err := f.Next(b); err != nil {
			return nil, err
		}
	}
	return m, f.End()
}
