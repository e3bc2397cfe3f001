package coordinator

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/hashicorp/raft"
)

// A snapshot is
//
//	magic    "allmend snapshot 1\n"
//	machine  length uint64 big-endian ‖ state.Machine.Snapshot
//	records  a records file with every record so far
const snapshotMagic = "allmend snapshot 1\n"

// maxAccused bounds the accused that nobody has asked for: only the leader does.
const maxAccused = 64

// replayBatch is how many records are read from disk at once.
const replayBatch = 256

// fsm drives the state machine from Raft's committed entries and keeps what it
// appends to the log. Raft calls Apply, Snapshot and Restore from one goroutine.
type fsm struct {
	spec    run.Spec
	records *Records
	changed *bell       // rung after mu is released
	fail    func(error) // ends the coordinator: memory and disk do not agree

	mu      sync.Mutex // guards the fields below
	machine *state.Machine
	broken  error              // the last write failed: nothing is applied any more
	ends    []uint64           // log sizes after each applied statement, not yet signed
	accused []identity.Address // by Faults applied and not yet looked into, the newest maxAccused
	closed  run.Closed         // the last one
}

func newFSM(spec run.Spec, records *Records, changed *bell, fail func(error)) (*fsm, error) {
	machine, err := state.New(spec)
	if err != nil {
		return nil, err
	}
	return &fsm{spec: spec, records: records, changed: changed, fail: fail, machine: machine}, nil
}

// Apply implements [raft.FSM]. It returns nil or an error: a [*state.Refused]
// is the same on every coordinator.
func (f *fsm) Apply(entry *raft.Log) any {
	err := f.apply(entry.Data)
	f.changed.ring()
	if err != nil {
		return err
	}
	return nil
}

func (f *fsm) apply(data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	signed, err := run.ParseSigned(data)
	if err != nil {
		return &state.Refused{Kind: "statement", Reason: err.Error()}
	}
	entries, err := f.machine.Apply(signed)
	if err != nil || len(entries) == 0 {
		return err
	}
	if err := f.keep(entries); err != nil {
		f.broken = fmt.Errorf("keeping record %d: %w; nothing that was agreed on is lost: mend the disk and start again", entries[0].Index, err)
		f.fail(f.broken)
		return f.broken
	}
	f.ends = append(f.ends, entries[0].Index+uint64(len(entries)))
	if fault, ok := signed.Statement.(run.Fault); ok {
		f.accused = append(f.accused, fault.Accused)
		f.accused = f.accused[max(0, len(f.accused)-maxAccused):]
	}
	for _, e := range entries {
		if closed, ok := e.Transition.(run.Closed); ok {
			f.closed = closed
		}
	}
	return nil
}

// keep writes records and checks that the file's root is the machine's.
func (f *fsm) keep(entries []state.Entry) error {
	var records [][]byte
	for _, e := range entries {
		records = append(records, e.Bytes)
	}
	if err := f.records.Append(entries[0].Index, records...); err != nil {
		return err
	}
	return f.compare()
}

// compare fails when the records' root is not the machine's. The file may be
// longer than the machine's log while Raft gives back what was there before a
// restart.
func (f *fsm) compare() error {
	size, root := f.machine.Log()
	have, err := f.records.Root(size)
	if err == nil && have != root {
		err = fmt.Errorf("records file %s: root %s over %d records, the state machine has %s", f.records.path, have.Short(), size, root.Short())
	}
	return err
}

// judge says what applying a statement would do now, and leaves no trace: fresh
// is false when it would change nothing, and the error is a [*state.Refused]
// when it is not allowed.
func (f *fsm) judge(signed run.Signed) (fresh bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The machine never writes to what it has shown (see state.View), so that
	// a copy which is thrown away may apply the statement. Not without mu: both
	// may append to one array.
	trial := *f.machine
	entries, err := trial.Apply(signed)
	return len(entries) > 0, err
}

// view returns a picture of the run.
func (f *fsm) view() state.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machine.View()
}

// lastClosed returns the last CLOSED, zero if there is none.
func (f *fsm) lastClosed() run.Closed {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// log returns the machine's log.
func (f *fsm) log() (size uint64, root digest.Sum) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machine.Log()
}

// takeEnds returns the log sizes to sign, ascending, and forgets them.
func (f *fsm) takeEnds() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	ends := f.ends
	f.ends = nil
	return ends
}

// takeAccused returns whom Faults have named since the last call.
func (f *fsm) takeAccused() []identity.Address {
	f.mu.Lock()
	defer f.mu.Unlock()
	accused := f.accused
	f.accused = nil
	slices.SortFunc(accused, identity.Address.Compare)
	return slices.Compact(accused)
}

// Snapshot implements [raft.FSM].
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, f.broken
	}
	machine, err := f.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	size, _ := f.machine.Log()
	return &snapshot{machine, f.records, size}, nil
}

// snapshot implements [raft.FSMSnapshot].
type snapshot struct {
	machine []byte
	records *Records
	size    uint64
}

// Persist writes the snapshot; it owns sink until then.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	head := binary.BigEndian.AppendUint64([]byte(snapshotMagic), uint64(len(s.machine)))
	_, err := sink.Write(append(head, s.machine...))
	if err == nil {
		err = s.records.Export(sink, s.size)
	}
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements [raft.FSMSnapshot].
func (s *snapshot) Release() {}

// Restore implements [raft.FSM]. It takes over a snapshot whole or not at all.
func (f *fsm) Restore(stream io.ReadCloser) error {
	defer stream.Close()
	if err := f.restore(stream); err != nil {
		return fmt.Errorf("restoring a snapshot: %w", err)
	}
	f.changed.ring()
	return nil
}

func (f *fsm) restore(stream io.Reader) error {
	claimed, size, root, err := f.readMachine(stream)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var machine *state.Machine
	var closed run.Closed
	err = f.records.take(stream, size, root, func(r *Records) (err error) {
		if machine, closed, err = replay(f.spec, r, size); err != nil {
			return err
		}
		derived, err := machine.Snapshot()
		if err == nil && !bytes.Equal(derived, claimed) {
			err = errors.New("its state does not follow from its records: the coordinator that made it lies, runs another version, or has a damaged disk")
		}
		return err
	})
	if err != nil {
		return err
	}
	f.machine, f.closed = machine, closed
	f.ends = append(f.ends, size)
	return nil
}

// readMachine reads a snapshot up to its records.
func (f *fsm) readMachine(stream io.Reader) (machine []byte, size uint64, root digest.Sum, err error) {
	head := make([]byte, len(snapshotMagic)+8)
	if _, err := io.ReadFull(stream, head); err != nil {
		return nil, 0, root, err
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return nil, 0, root, errors.New("it does not begin as one of version 1")
	}
	n := binary.BigEndian.Uint64(head[len(snapshotMagic):])
	if n > state.MaxSnapshotSize {
		return nil, 0, root, fmt.Errorf("state of %d bytes, at most %d are allowed", n, state.MaxSnapshotSize)
	}
	machine = make([]byte, n)
	if _, err := io.ReadFull(stream, machine); err != nil {
		return nil, 0, root, err
	}
	m, err := state.Restore(f.spec, machine)
	if err != nil {
		return nil, 0, root, err
	}
	size, root = m.Log()
	return machine, size, root, nil
}

// replay derives the state after the first size records, and the last CLOSED
// among them. Whoever sends a snapshot can make its state and its records agree
// in size and root only: the rest of the state must follow from the records.
func replay(spec run.Spec, records *Records, size uint64) (*state.Machine, run.Closed, error) {
	var closed run.Closed
	start, err := state.New(spec)
	if err != nil {
		return nil, closed, err
	}
	f := state.Follow(start)
	for f.Size() < size {
		batch, _, err := records.Read(f.Size(), int(min(size-f.Size(), replayBatch)))
		if err != nil {
			return nil, closed, err
		}
		for _, b := range batch {
			e, err := f.Next(b)
			if err != nil {
				return nil, closed, err
			}
			if c, ok := e.Transition.(run.Closed); ok {
				closed = c
			}
		}
	}
	return f.Machine(), closed, f.End()
}
