package state

import (
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

const (
	maxRings  = 3    // attempts before a round is skipped
	maxSkips  = 3    // skipped rounds in a row before the run halts
	maxSeen   = 1024 // applied statements that are told from new ones
	maxRoots  = 256  // sizes at which a contradicting Head is recognised
	maxDue    = 8    // checkpoints waiting for signatures
	maxKnown  = 4096 // members, and auditors
	maxTimes  = 8    // states that a member may name for one round
	maxVotes  = 8    // pending statements of a kind that a coordinator may stand behind
	maxReason = 256  // bytes
)

// Machine is the replicated state of one run. The zero Machine is not usable;
// a Machine must not be used by two goroutines at once.
type Machine struct {
	spec run.Spec
	id   run.ID
	s    state
	out  []Entry // what the Apply under way has appended
}

// Entry is a record as it was appended to the log.
type Entry struct {
	run.Record
	Bytes  []byte           // canonical encoding: the leaf's data
	Root   digest.Sum       // of the log with this record as its last
	Signer identity.Address // of a statement, the first of several; zero for a transition
}

// Refused says why a statement was not applied. It left no trace.
type Refused struct {
	Kind   string
	Signer identity.Address // the first signer, zero if none could be recovered
	Reason string
}

func (e *Refused) Error() string {
	if e.Signer.IsZero() {
		return e.Kind + " refused: " + e.Reason
	}
	return fmt.Sprintf("%s by %s refused: %s", e.Kind, e.Signer.Short(), e.Reason)
}

// New returns the machine of a run before its first statement.
func New(spec run.Spec) (*Machine, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	id, err := spec.ID()
	if err != nil {
		return nil, err
	}
	none := []identity.Address{}
	start := Closing{Contributors: none, LogRoot: digest.Root(nil)}
	m := &Machine{spec: spec, id: id, s: state{
		Version: 1, Run: id, Log: treeLog{Edge: []digest.Sum{}}, Roots: []rootAt{}, Seen: []digest.Sum{},
		Accepted: none, Coordinators: slices.Clone(spec.Coordinators), Distrusted: none, Auditors: none,
		Members: []Member{}, Pending: []run.Signed{},
		Phase: Gather, Round: 1, Pinned: spec.InitialState,
		Voters: append(none, spec.Members...), Late: none, Ready: []Readiness{}, Heard: []Readiness{},
		Current: Current{Roster: none, Spans: []run.Span{}, Gone: none, Commits: []Commitment{}, Contributors: none, Results: []Outcome{}, Broken: none},
		Ledger:  run.NewLedger(), Last: start, History: []past{}, Due: []Checkpoint{},
		Signed: []Checkpoint{{Closing: start, State: spec.InitialState, Members: []Signature{}, Coordinators: []Signature{}, Lost: none}},
	}}
	for _, a := range spec.Members {
		m.s.setMember(Member{Address: a})
	}
	return m, nil
}

// Spec returns the run's Spec.
func (m *Machine) Spec() run.Spec { return m.spec }

// ID returns the run's name.
func (m *Machine) ID() run.ID { return m.id }

// Log returns the number of records and the root of the tree over them.
func (m *Machine) Log() (size uint64, root digest.Sum) { return m.s.Log.Size, m.s.Log.root() }

// Apply applies a signed statement and returns what it appended to the log: the
// statement, then the transitions that follow from it. A statement that was
// applied before gives nothing, and no error; one that is not allowed here and
// now gives a [*Refused] and changes nothing.
func (m *Machine) Apply(s run.Signed) ([]Entry, error) {
	refuse := func(who identity.Address, why string) ([]Entry, error) {
		return nil, &Refused{s.Statement.Kind(), who, why}
	}
	b, err := s.Marshal()
	if err != nil {
		return refuse(identity.Address{}, err.Error())
	}
	if len(b) > run.MaxStatementSize {
		return refuse(identity.Address{}, fmt.Sprintf("%d bytes, at most %d are allowed", len(b), run.MaxStatementSize))
	}
	name := digest.Of(b)
	if lasting(s.Statement) && slices.Contains(m.s.Seen, name) {
		return nil, nil
	}
	signers, err := s.Signers(m.id)
	if err != nil {
		return refuse(identity.Address{}, err.Error())
	}
	if len(signers) == 0 {
		return refuse(identity.Address{}, "nobody signed it")
	}
	act, err := m.judge(said{s, signers[0], signers, name})
	if err != nil {
		return refuse(signers[0], err.Error())
	}
	if act == nil {
		return nil, nil
	}
	m.out = nil
	m.append(run.Record{Statement: &s}, signers[0])
	size := m.s.Log.Size
	act()
	m.spoke(signers[0], size)
	for m.advance() {
	}
	if lasting(s.Statement) {
		m.s.Seen = last(append(slices.Clone(m.s.Seen), name), maxSeen)
	}
	return m.out, nil
}

// spoke notes that a's statement made the log size records long.
func (m *Machine) spoke(a identity.Address, size uint64) {
	if i := m.s.member(a); i >= 0 {
		now := m.s.Members[i]
		now.Spoke = size
		m.s.setMember(now)
	}
}

// lasting reports whether saying a statement once is enough. Ready and Expire
// are not: one ends what the other began, and both may come again in a round.
func lasting(s run.Statement) bool {
	switch s.(type) {
	case run.Ready, run.Expire:
		return false
	}
	return true
}

// said is a statement whose signatures have been recovered.
type said struct {
	run.Signed
	by      identity.Address // the first signer
	signers []identity.Address
	name    digest.Sum // SHA-256 of its canonical encoding
}

// judge decides whether a statement is allowed, and returns what it does; nil
// says that it has been done already. It changes nothing itself.
func (m *Machine) judge(s said) (act func(), err error) {
	switch st := s.Statement.(type) {
	case run.Member, run.Control, run.Rewind:
		return m.judgeVote(s)
	case run.Revocation:
		return nil, fmt.Errorf("this version takes no revocations")
	case run.ShardManifest:
		return nil, fmt.Errorf("it travels with the shards and does not go into the log")
	default:
		if len(s.signers) != 1 {
			return nil, fmt.Errorf("want one signature, got %d", len(s.signers))
		}
		if err := m.admit(s.by); err != nil {
			return nil, err
		}
		if _, ok := st.(run.Checkpoint); m.s.Finished && !ok {
			return nil, fmt.Errorf("the run is finished")
		}
	}
	switch st := s.Statement.(type) {
	case run.Accept:
		return m.judgeAccept(s.by, st)
	case run.Ready:
		return m.judgeReady(s.by, st)
	case run.Commit:
		return m.judgeCommit(s, st)
	case run.Result:
		return m.judgeResult(s, st)
	case run.Fault:
		return m.judgeFault(s.by, st)
	case run.Expire:
		return m.judgeExpire(s.by, st)
	case run.Checkpoint:
		return m.judgeCheckpoint(s, st)
	case run.Head:
		return m.judgeHead(s, st)
	}
	return nil, fmt.Errorf("the state machine does not know this kind")
}

// admit keeps out whoever takes no part, and who was caught: one proof is
// enough, and no more of its statements go into the log.
func (m *Machine) admit(a identity.Address) error {
	switch {
	case m.s.member(a) < 0 && !has(m.s.Coordinators, a):
		return fmt.Errorf("neither a member nor a coordinator; k coordinators must admit it first")
	case m.barred(a), has(m.s.Distrusted, a):
		return fmt.Errorf("it said two different things; k coordinators must admit it again")
	}
	return nil
}

// advance makes at most one transition that has become due, and reports
// whether it did.
func (m *Machine) advance() bool {
	if m.s.Finished {
		return false
	}
	if m.count() || m.start() || m.settleCheckpoints() {
		return true
	}
	switch m.s.Phase {
	case Gather:
		return m.open()
	case Compute:
		return m.ring()
	case Reduce:
		return m.close()
	case Again:
		return m.ringAgain()
	}
	return m.finish()
}

// emit appends a transition to the log.
func (m *Machine) emit(t run.Transition) { m.append(run.Record{Transition: t}, identity.Address{}) }

func (m *Machine) append(r run.Record, signer identity.Address) {
	r.Index = m.s.Log.Size
	b, err := r.Marshal(m.id)
	if err != nil {
		panic("state: record does not encode: " + err.Error()) // statements and transitions are bounded
	}
	m.s.Log.append(b)
	root := m.s.Log.root()
	m.s.Roots = last(append(slices.Clone(m.s.Roots), rootAt{m.s.Log.Size, root}), maxRoots)
	m.out = append(m.out, Entry{r, b, root, signer})
}

// last returns the last n elements of s.
func last[T any](s []T, n int) []T { return s[max(0, len(s)-n):] }

// printable checks a text that goes into the log.
func printable(what, text string, limit int) error {
	if len(text) == 0 || len(text) > limit {
		return fmt.Errorf("%s: want 1 to %d characters, got %d", what, limit, len(text))
	}
	for _, r := range text {
		if r < ' ' || r > '~' {
			return fmt.Errorf("%s: %q is not printable ASCII", what, r)
		}
	}
	return nil
}
