package member

import (
	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Event is something that happened.
type Event interface{ event() }

// Covered brings the log's next entries, in order and without a gap, up to a
// size that k coordinators' heads cover. Live says that no more are known to be
// covered: only then does the member act.
type Covered struct {
	Entries []state.Entry
	Live    bool
}

// Restored answers [Restore] with the root of the state that is held now.
type Restored struct {
	Job  uint64
	Root digest.Sum
}

// Fetched answers [FetchReduced]: the vector is on this disk.
type Fetched struct{ Job uint64 }

// Applied answers [Apply] with the root of the state that is held now.
type Applied struct {
	Job  uint64
	Root digest.Sum
}

// Computed answers [Compute]: the contribution is on this disk.
type Computed struct {
	Job          uint64
	Contribution digest.Sum
	Units        digest.Sum
	Targets      uint64
	Loss         uint32 // bits of a float32
	Rejected     string // non-finite units: [run.FormatUnits]
}

// RingDone answers [Ring]: the reduced vector is on this disk.
type RingDone struct {
	Job     uint64
	Reduced digest.Sum
}

// RingFailed answers [Ring]: the stream to or from Accused broke.
type RingFailed struct {
	Job     uint64
	Accused identity.Address
	Phase   string
	Step    uint64
}

// CheckpointWritten answers [WriteCheckpoint].
type CheckpointWritten struct {
	Job      uint64
	Manifest digest.Sum
}

// Failed answers any job that could not be done. The member waits for [Retry]
// before it asks for another.
type Failed struct {
	Job    uint64
	Reason string
}

// Retry says that enough time has passed since [Failed].
type Retry struct{}

func (Covered) event()           {}
func (Restored) event()          {}
func (Fetched) event()           {}
func (Applied) event()           {}
func (Computed) event()          {}
func (RingDone) event()          {}
func (RingFailed) event()        {}
func (CheckpointWritten) event() {}
func (Failed) event()            {}
func (Retry) event()             {}

// Disk is what a process finds on its own disk when it starts. The state itself
// is not kept there: it follows from a checkpoint and reduced vectors.
type Disk struct {
	Checkpoints []Checkpoint    // written by this member or fetched, in any order
	Reduced     []digest.Sum    // reduced vectors
	Commit      *run.Commit     // the last one signed
	Vector      bool            // the contribution that Commit names is there, whole
	Result      *run.Result     // the last one signed
	Checkpoint  *run.Checkpoint // the last one signed
}

// Checkpoint names the state after a closed round.
type Checkpoint struct {
	Round    uint64
	State    digest.Sum
	Manifest digest.Sum // zero for round 0
	Local    bool       // on this disk

	targets uint64 // supervised tokens up to Round
}
