package state

import (
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Status is what the whole run is doing.
type Status string

// The statuses of a run.
const (
	Waiting  Status = "waiting" // for coordinators to accept
	Running  Status = "running"
	Paused   Status = "paused" // the round under way goes on, the next does not open
	Halted   Status = "halted" // until k coordinators resume it
	Finished Status = "finished"
)

// View is a read-only picture of a machine at one log size. It shares memory
// with the machine, which never writes to what it has shown; callers must not
// either.
type View struct {
	Run    run.ID
	Status Status
	Reason string // of Paused and Halted
	Finish bool   // the round under way is the last

	Phase   Phase
	Round   uint64             // under way, or gathered for; in End the last one
	Attempt uint64             // 0 in Gather and Compute; in Reduce the ring's; in Again the next ring's
	Step    uint64             // closed rounds that are not void
	Skips   int                // rounds skipped in a row
	Awaited []identity.Address // whom the phase waits for; Expire may name only these

	Pinned  digest.Sum   // root the next round starts from; zero: its voters decide
	Ready   []Readiness  // for (Round, Attempt)
	Current              // the round that was opened last: roster, spans, commits, ring, results
	Last    Closing      // the last closed round that is not void
	Due     []Checkpoint // not signed by k coordinators yet, oldest first
	Signed  []Checkpoint // the last two, oldest first; the first is of round 0

	Members      []Member
	Coordinators []identity.Address
	Distrusted   []identity.Address // coordinators that equivocated
	Accepted     []identity.Address // coordinators that signed Accept
	Auditors     []identity.Address
	Threshold    int          // k: coordinators that must sign
	Pending      []run.Signed // Member, Control, Rewind with fewer than k signatures
	NextMember   uint64       // the Number that the next Member statement must carry
	NextControl  uint64
	NextRewind   uint64

	Ledger  run.Ledger
	LogSize uint64
	LogRoot digest.Sum
}

// View returns the machine's state now.
func (m *Machine) View() View {
	s := &m.s
	status, reason := s.status()
	size, root := m.Log()
	return View{
		Run: m.id, Status: status, Reason: reason, Finish: s.Finish,
		Phase: s.Phase, Round: s.Round, Attempt: s.Attempt, Step: s.Step, Skips: s.Skips, Awaited: m.awaited(),
		Pinned: s.Pinned, Ready: s.Ready, Current: s.Current, Last: s.Last, Due: s.Due, Signed: s.Signed,
		Members: s.Members, Coordinators: s.Coordinators, Distrusted: s.Distrusted, Accepted: s.Accepted,
		Auditors: s.Auditors, Threshold: run.Threshold(len(s.Coordinators)), Pending: s.Pending,
		NextMember: s.Changes + 1, NextControl: s.Controls + 1, NextRewind: s.Rewinds + 1,
		Ledger: s.Ledger, LogSize: size, LogRoot: root,
	}
}

func (s *state) status() (Status, string) {
	switch {
	case s.Finished:
		return Finished, ""
	case s.Halted != "":
		return Halted, s.Halted
	case !s.Started:
		return Waiting, "not every coordinator has accepted the run"
	case s.Held:
		return Paused, "by the coordinators"
	case s.Short != "":
		return Paused, s.Short
	}
	return Running, ""
}
