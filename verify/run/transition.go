package run

import (
	"encoding/json"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
)

// Transition is what the state machine decided when it applied a statement.
// Nobody signs one: whoever applies the same statements gets the same bytes.
type Transition interface {
	// Name is the transition's name in the log, in capitals.
	Name() string
}

// Started says that every coordinator has accepted: rounds may open.
type Started struct{}

// Open begins a round. Spans follow from Assign(spec, ledger, roster).
type Open struct {
	Round       uint64             `json:"round"`
	Step        uint64             `json:"step"`  // closed, not void rounds including this one
	State       digest.Sum         `json:"state"` // root at the start of the round
	Roster      []identity.Address `json:"roster"`
	Spans       []Span             `json:"spans"`
	Ledger      digest.Sum         `json:"ledger"`      // before Assign
	Revocations digest.Sum         `json:"revocations"` // [NoRevocations]
	Scalars     Scalars            `json:"scalars"`     // Schedule(spec, step)
}

// Ring begins an attempt to reduce: ranks are indices in Contributors.
type Ring struct {
	Round        uint64             `json:"round"`
	Attempt      uint64             `json:"attempt"` // from 1
	Contributors []identity.Address `json:"contributors"`
}

// Closed ends a round: everybody applies the vector whose digest is Reduced.
type Closed struct {
	Round        uint64             `json:"round"`
	Attempt      uint64             `json:"attempt"`
	Step         uint64             `json:"step"`
	Reduced      digest.Sum         `json:"reduced"`
	Contributors []identity.Address `json:"contributors"`
	Targets      uint64             `json:"targets"`    // supervised tokens, over all contributors
	Loss         uint32             `json:"loss"`       // bits of the float32 sum of their losses
	Checkpoint   bool               `json:"checkpoint"` // one is due
}

// Aborted ends an attempt. Contributors that still hold their contribution say
// Ready for the next one.
type Aborted struct {
	Round    uint64             `json:"round"`
	Attempt  uint64             `json:"attempt"`
	Reason   string             `json:"reason"`
	Excluded []identity.Address `json:"excluded"` // reported another digest than the majority: must sync again
}

// Skipped ends a round without a result: its samples return, and state is as
// at its start.
type Skipped struct {
	Round  uint64 `json:"round"`
	Reason string `json:"reason"`
}

// Halted stops the run until k coordinators sign Control{resume}.
type Halted struct {
	Reason string `json:"reason"`
}

// Paused holds the next round back.
type Paused struct {
	Reason string `json:"reason"`
}

// Resumed ends Paused and Halted.
type Resumed struct{}

// Finishing says that coordinators end the run after Round, which is the one
// under way or the last that was closed; its checkpoint is due.
type Finishing struct {
	Round uint64 `json:"round"`
}

// Finished says that the last round's checkpoint is signed. Nothing follows.
type Finished struct {
	Round uint64 `json:"round"` // of the last checkpoint
	Step  uint64 `json:"step"`
}

// Rewound takes the run back to a checkpoint: closed rounds after it are void.
type Rewound struct {
	Round uint64     `json:"round"` // of the checkpoint; 0 is the initial state
	Step  uint64     `json:"step"`
	State digest.Sum `json:"state"`
	Void  []uint64   `json:"void"` // closed rounds that do not count any more
}

// Expired says that a member is out of this round, and of the waiting for the
// next, until it says Ready again.
type Expired struct {
	Member identity.Address `json:"member"`
	Reason string           `json:"reason"`
}

// Changed says that a Member statement has its k signatures.
type Changed struct {
	Number    uint64           `json:"number"`
	Action    string           `json:"action"`
	Role      string           `json:"role"`
	Subject   identity.Address `json:"subject"`
	Successor identity.Address `json:"successor"` // zero unless Rotate
}

// Checkpointed says that more than half of a round's contributors agree on the
// state after it.
type Checkpointed struct {
	Round    uint64     `json:"round"`
	Manifest digest.Sum `json:"manifest"`
	State    digest.Sum `json:"state"`
}

// CheckpointSigned says that k coordinators signed that checkpoint.
type CheckpointSigned struct {
	Round    uint64     `json:"round"`
	Step     uint64     `json:"step"`
	Manifest digest.Sum `json:"manifest"`
	State    digest.Sum `json:"state"`
}

// Equivocation says that a signer said two different things where only one is
// allowed; both statements are in the log. It stays barred until k coordinators
// admit it again. A Head that contradicts the log is evidence by itself: then
// First is the log's root and Second the Head's.
type Equivocation struct {
	Signer identity.Address `json:"signer"`
	Kind   string           `json:"kind"`
	First  digest.Sum       `json:"first"` // SHA-256 of each statement's canonical JSON
	Second digest.Sum       `json:"second"`
}

// Name implements [Transition] for each type.
func (Started) Name() string          { return "STARTED" }
func (Open) Name() string             { return "OPEN" }
func (Ring) Name() string             { return "RING" }
func (Closed) Name() string           { return "CLOSED" }
func (Aborted) Name() string          { return "ABORTED" }
func (Skipped) Name() string          { return "SKIPPED" }
func (Halted) Name() string           { return "HALTED" }
func (Paused) Name() string           { return "PAUSED" }
func (Resumed) Name() string          { return "RESUMED" }
func (Finishing) Name() string        { return "FINISHING" }
func (Finished) Name() string         { return "FINISHED" }
func (Rewound) Name() string          { return "REWOUND" }
func (Expired) Name() string          { return "EXPIRED" }
func (Changed) Name() string          { return "CHANGED" }
func (Checkpointed) Name() string     { return "CHECKPOINTED" }
func (CheckpointSigned) Name() string { return "SIGNED" }
func (Equivocation) Name() string     { return "EQUIVOCATION" }

var transitions = map[string]func([]byte) (Transition, error){
	"STARTED": transitionAs[Started], "OPEN": transitionAs[Open], "RING": transitionAs[Ring],
	"CLOSED": transitionAs[Closed], "ABORTED": transitionAs[Aborted], "SKIPPED": transitionAs[Skipped],
	"HALTED": transitionAs[Halted], "PAUSED": transitionAs[Paused], "RESUMED": transitionAs[Resumed],
	"FINISHING": transitionAs[Finishing], "FINISHED": transitionAs[Finished], "REWOUND": transitionAs[Rewound],
	"EXPIRED": transitionAs[Expired], "CHANGED": transitionAs[Changed], "CHECKPOINTED": transitionAs[Checkpointed],
	"SIGNED": transitionAs[CheckpointSigned], "EQUIVOCATION": transitionAs[Equivocation],
}

func transitionAs[T Transition](b []byte) (Transition, error) {
	var t T
	err := json.Unmarshal(b, &t)
	return t, err
}

// NoRevocations is the digest of the empty revocation list, "[]".
var NoRevocations = digest.Of([]byte("[]"))

// ContributorsDigest names one ring: the SHA-256 of the canonical JSON of
// [Ring].
func ContributorsDigest(round, attempt uint64, contributors []identity.Address) digest.Sum {
	b, err := canonical.Marshal(Ring{round, attempt, contributors})
	if err != nil {
		panic("run: ring does not encode: " + err.Error()) // numbers of records stay far below 2^53
	}
	return digest.Of(b)
}
