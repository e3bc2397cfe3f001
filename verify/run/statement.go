package run

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
)

// MaxStatementSize bounds the encoding of a signed statement in bytes: what
// goes through Raft stays small.
const MaxStatementSize = 64 << 10

// Statement is what a peer signs about a run. The same pointer-free struct is
// its EIP-712 structure and its JSON.
type Statement interface {
	identity.Statement
	// Kind is the structure's type name.
	Kind() string
}

// Accept is a coordinator's consent to be named by a Spec.
type Accept struct {
	Spec digest.Sum `json:"spec"`
}

// Roles a key can have.
const (
	RoleMember      = "member"
	RoleCoordinator = "coordinator"
	RoleAuditor     = "auditor"
)

// What a Member statement does to its subject.
const (
	Admit  = "admit"  // the subject enters, or an expired equivocator is trusted again
	Remove = "remove" // the subject leaves
	Rotate = "rotate" // the successor takes the subject's place
)

// Member changes who takes part. It needs k coordinators' signatures.
type Member struct {
	Number    uint64           `json:"number"` // 1 + Member statements applied before, so that none applies twice
	Action    string           `json:"action"`
	Role      string           `json:"role"`
	Subject   identity.Address `json:"subject"`
	Successor identity.Address `json:"successor"` // zero unless Rotate
}

// What a Control statement does.
const (
	Pause  = "pause"
	Resume = "resume" // leaves PAUSED and HALTED
	Finish = "finish" // after the round under way
)

// Control steers the run. It needs k coordinators' signatures.
type Control struct {
	Number uint64 `json:"number"` // 1 + Control statements applied before
	Action string `json:"action"`
}

// Ready says that its signer holds the state at the start of a round: with
// attempt 0 to enter the round, with attempt a > 0 to enter its a-th ring.
type Ready struct {
	Round   uint64     `json:"round"`
	Attempt uint64     `json:"attempt"`
	State   digest.Sum `json:"state"`
}

// Commit binds a contributor to its contribution before any of it is sent.
type Commit struct {
	Round        uint64     `json:"round"`
	State        digest.Sum `json:"state"`        // the state it started from
	Contribution digest.Sum `json:"contribution"` // Merkle root over 1 MiB blocks
	Units        digest.Sum `json:"units"`        // Merkle root over the hash of the running gradient after each unit
	Targets      uint64     `json:"targets"`      // supervised tokens
	Loss         uint32     `json:"loss"`         // bits of the float32 sum of their losses
	Rejected     string     `json:"rejected"`     // non-finite units, as [FormatUnits] writes them: "3,17-20"; "" if none
}

// Result is what a contributor's ring gave.
type Result struct {
	Round        uint64     `json:"round"`
	Attempt      uint64     `json:"attempt"`
	Contributors digest.Sum `json:"contributors"`
	Reduced      digest.Sum `json:"reduced"`
}

// Fault says that its signer's ring broke, and at which neighbour. It accuses
// nobody by itself.
type Fault struct {
	Round   uint64           `json:"round"`
	Attempt uint64           `json:"attempt"`
	Accused identity.Address `json:"accused"`
	Phase   string           `json:"phase"`
	Step    uint64           `json:"step"`
}

// Expire says, by a coordinator, that a member has fallen silent. It does
// nothing when the member has spoken since the log that the coordinator looked
// at.
type Expire struct {
	Round   uint64           `json:"round"`
	Attempt uint64           `json:"attempt"`
	Size    uint64           `json:"size"` // of that log, in records
	Accused identity.Address `json:"accused"`
	Reason  string           `json:"reason"`
}

// Head is a coordinator's word for the log's first Index records.
type Head struct {
	Index uint64     `json:"index"`
	Root  digest.Sum `json:"root"`
}

// Checkpoint says that its signer holds the state after a round, as the
// manifest describes it.
type Checkpoint struct {
	Round    uint64     `json:"round"`
	Manifest digest.Sum `json:"manifest"`
	State    digest.Sum `json:"state"`
}

// Rewind takes the run back to a checkpoint. It needs k coordinators'
// signatures.
type Rewind struct {
	Number   uint64     `json:"number"` // 1 + Rewind statements applied before
	Round    uint64     `json:"round"`  // of the checkpoint; 0 is the initial state
	Manifest digest.Sum `json:"manifest"`
}

// Revocation withdraws documents from rounds to come. Its format is fixed;
// this version's state machine refuses it by name.
type Revocation struct {
	Number uint64     `json:"number"`
	List   digest.Sum `json:"list"`
}

// ShardManifest is a builder's word for the shards it built.
type ShardManifest struct {
	Manifest digest.Sum `json:"manifest"`
}

// Kind implements [Statement] for each type.
func (Accept) Kind() string        { return "Accept" }
func (Member) Kind() string        { return "Member" }
func (Control) Kind() string       { return "Control" }
func (Ready) Kind() string         { return "Ready" }
func (Commit) Kind() string        { return "Commit" }
func (Result) Kind() string        { return "Result" }
func (Fault) Kind() string         { return "Fault" }
func (Expire) Kind() string        { return "Expire" }
func (Head) Kind() string          { return "Head" }
func (Checkpoint) Kind() string    { return "Checkpoint" }
func (Rewind) Kind() string        { return "Rewind" }
func (Revocation) Kind() string    { return "Revocation" }
func (ShardManifest) Kind() string { return "ShardManifest" }

type fields = []identity.Field

// Struct implements [identity.Statement].
func (s Accept) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{{Name: "spec", Value: s.Spec}}}
}

// Struct implements [identity.Statement].
func (s Member) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "number", Value: s.Number}, {Name: "action", Value: s.Action}, {Name: "role", Value: s.Role},
		{Name: "subject", Value: s.Subject}, {Name: "successor", Value: s.Successor},
	}}
}

// Struct implements [identity.Statement].
func (s Control) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "number", Value: s.Number}, {Name: "action", Value: s.Action},
	}}
}

// Struct implements [identity.Statement].
func (s Ready) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "round", Value: s.Round}, {Name: "attempt", Value: s.Attempt}, {Name: "state", Value: s.State},
	}}
}

// Struct implements [identity.Statement].
func (s Commit) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "round", Value: s.Round}, {Name: "state", Value: s.State},
		{Name: "contribution", Value: s.Contribution}, {Name: "units", Value: s.Units},
		{Name: "targets", Value: s.Targets}, {Name: "loss", Value: s.Loss}, {Name: "rejected", Value: s.Rejected},
	}}
}

// Struct implements [identity.Statement].
func (s Result) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "round", Value: s.Round}, {Name: "attempt", Value: s.Attempt},
		{Name: "contributors", Value: s.Contributors}, {Name: "reduced", Value: s.Reduced},
	}}
}

// Struct implements [identity.Statement].
func (s Fault) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "round", Value: s.Round}, {Name: "attempt", Value: s.Attempt}, {Name: "accused", Value: s.Accused},
		{Name: "phase", Value: s.Phase}, {Name: "step", Value: s.Step},
	}}
}

// Struct implements [identity.Statement].
func (s Expire) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "round", Value: s.Round}, {Name: "attempt", Value: s.Attempt}, {Name: "size", Value: s.Size},
		{Name: "accused", Value: s.Accused}, {Name: "reason", Value: s.Reason},
	}}
}

// Struct implements [identity.Statement].
func (s Head) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{{Name: "index", Value: s.Index}, {Name: "root", Value: s.Root}}}
}

// Struct implements [identity.Statement].
func (s Checkpoint) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "round", Value: s.Round}, {Name: "manifest", Value: s.Manifest}, {Name: "state", Value: s.State},
	}}
}

// Struct implements [identity.Statement].
func (s Rewind) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{
		{Name: "number", Value: s.Number}, {Name: "round", Value: s.Round}, {Name: "manifest", Value: s.Manifest},
	}}
}

// Struct implements [identity.Statement].
func (s Revocation) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{{Name: "number", Value: s.Number}, {Name: "list", Value: s.List}}}
}

// Struct implements [identity.Statement].
func (s ShardManifest) Struct() identity.Struct {
	return identity.Struct{Name: s.Kind(), Fields: fields{{Name: "manifest", Value: s.Manifest}}}
}

// Signed is a statement with the signatures of those who say it, sorted by
// signer.
type Signed struct {
	Statement  Statement
	Signatures []identity.Signature
}

type signedJSON struct {
	Kind       string               `json:"kind"`
	Statement  json.RawMessage      `json:"statement"`
	Signatures []identity.Signature `json:"signatures"`
}

// MarshalJSON implements [json.Marshaler].
func (s Signed) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(s.Statement)
	if err != nil {
		return nil, err
	}
	return json.Marshal(signedJSON{s.Statement.Kind(), body, s.Signatures})
}

// UnmarshalJSON implements [json.Unmarshaler]. It refuses unknown kinds; the
// caller, [ParseSigned] or an enclosing document, checks that the encoding is
// canonical.
func (s *Signed) UnmarshalJSON(b []byte) error {
	var j signedJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	decode, ok := kinds[j.Kind]
	if !ok {
		return fmt.Errorf("statement of unknown kind %.40q", j.Kind)
	}
	statement, err := decode(j.Statement)
	if err != nil {
		return fmt.Errorf("%s: %w", j.Kind, err)
	}
	*s = Signed{statement, j.Signatures}
	return nil
}

func decodeAs[S Statement](b []byte) (Statement, error) {
	var s S
	err := json.Unmarshal(b, &s)
	return s, err
}

var kinds = map[string]func([]byte) (Statement, error){
	"Accept": decodeAs[Accept], "Member": decodeAs[Member], "Control": decodeAs[Control],
	"Ready": decodeAs[Ready], "Commit": decodeAs[Commit], "Result": decodeAs[Result],
	"Fault": decodeAs[Fault], "Expire": decodeAs[Expire], "Head": decodeAs[Head],
	"Checkpoint": decodeAs[Checkpoint], "Rewind": decodeAs[Rewind],
	"Revocation": decodeAs[Revocation], "ShardManifest": decodeAs[ShardManifest],
}

// ParseSigned reads a signed statement from its canonical encoding. It checks
// no signature.
func ParseSigned(b []byte) (Signed, error) {
	var s Signed
	if err := canonical.Unmarshal(b, &s, MaxStatementSize); err != nil {
		return Signed{}, fmt.Errorf("signed statement: %w", err)
	}
	if len(s.Signatures) == 0 {
		return Signed{}, errors.New("signed statement: no signature")
	}
	return s, nil
}

// Marshal returns the canonical encoding of s.
func (s Signed) Marshal() ([]byte, error) { return canonical.Marshal(s) }

// Sign returns s signed for run by one key.
func Sign(id ID, key identity.Key, s Statement) (Signed, error) {
	g, err := key.Sign(id, s)
	if err != nil {
		return Signed{}, err
	}
	return Signed{s, []identity.Signature{g}}, nil
}

// Signers recovers who signed s for the run: distinct addresses in ascending
// order, as the signatures must be.
func (s Signed) Signers(id ID) ([]identity.Address, error) {
	var signers []identity.Address
	for i, g := range s.Signatures {
		a, err := identity.Recover(id, s.Statement, g)
		if err != nil {
			return nil, fmt.Errorf("signature %d of %s: %w", i+1, s.Statement.Kind(), err)
		}
		if i > 0 && signers[i-1].Compare(a) >= 0 {
			return nil, fmt.Errorf("signature %d of %s: signers must be sorted and distinct; %s is not", i+1, s.Statement.Kind(), a)
		}
		signers = append(signers, a)
	}
	return signers, nil
}
