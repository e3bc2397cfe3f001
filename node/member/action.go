package member

import (
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Action is something that the caller must do. Actions are done in the order
// given.
type Action interface{ action() }

// Submit signs a statement, makes it durable, and proposes it until it is
// applied or refused.
type Submit struct{ Statement run.Statement }

// Restore replaces the state held by that of a checkpoint, from this disk or
// from another member. Answer: [Restored].
type Restore struct {
	Job        uint64
	Checkpoint Checkpoint
}

// FetchReduced gets a closed round's reduced vector, by digest, from anybody
// who has it. Answer: [Fetched].
type FetchReduced struct {
	Job    uint64
	Round  uint64
	Digest digest.Sum
	From   []identity.Address // its contributors
}

// Apply takes the state held from the start of a round to its end, in place.
// Answer: [Applied].
type Apply struct {
	Job      uint64
	Round    uint64
	Step     uint64
	Reduced  digest.Sum
	Targets  uint64
	Scalars  run.Scalars
	Observer bool // did not contribute
}

// Compute makes this member's contribution. Answer: [Computed].
type Compute struct {
	Job   uint64
	Round uint64
	State digest.Sum
	Span  run.Span
}

// Ring reduces the contributors' vectors, out of place. Answer: [RingDone] or
// [RingFailed].
type Ring struct {
	Job          uint64
	Round        uint64
	Attempt      uint64
	Contributors []identity.Address
	Digest       digest.Sum // [run.ContributorsDigest]
	Rank         int
}

// WriteCheckpoint writes the state held as a checkpoint, the same bytes for
// every member. Answer: [CheckpointWritten].
type WriteCheckpoint struct {
	Job     uint64
	Round   uint64
	Step    uint64
	State   digest.Sum // the state root held
	Parent  digest.Sum // manifest of the newest checkpoint that was signed at CLOSED; zero for round 0
	LogSize uint64     // of the log up to and with CLOSED
	LogRoot digest.Sum
	Targets uint64 // supervised tokens, over all rounds up to this one that are not void
}

// Cancel asks the job to end soon.
type Cancel struct{ Job uint64 }

// DropContribution says that a round's contribution will not be needed: the
// round is void, or goes on without this member.
type DropContribution struct{ Round uint64 }

// Prune says that nobody will need checkpoints of rounds before Round, nor
// reduced vectors and contributions of rounds up to and with it.
type Prune struct{ Round uint64 }

// Halted tells people that the run stands still until its coordinators act.
type Halted struct{ Reason string }

// Removed tells people that this key takes no part: removed, or barred.
type Removed struct{ Reason string }

// Diverged says that this machine cannot reach the state that the others
// agree on. There is nothing that trying again would change.
type Diverged struct{ Reason string }

// Finish says that the run is over and this process has nothing left to do.
type Finish struct{ Round uint64 }

func (Submit) action()           {}
func (Restore) action()          {}
func (FetchReduced) action()     {}
func (Apply) action()            {}
func (Compute) action()          {}
func (Ring) action()             {}
func (WriteCheckpoint) action()  {}
func (Cancel) action()           {}
func (DropContribution) action() {}
func (Prune) action()            {}
func (Halted) action()           {}
func (Removed) action()          {}
func (Diverged) action()         {}
func (Finish) action()           {}
