package state

import (
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Phase is what the run waits for.
type Phase string

// The phases of a round. A machine begins in Gather.
const (
	Gather  Phase = "gather"  // members that hold the state say Ready{r, 0}
	Compute Phase = "compute" // the roster computes and commits
	Reduce  Phase = "reduce"  // contributors run the ring and report
	Again   Phase = "again"   // a ring was aborted: contributors say Ready{r, a}
	End     Phase = "end"     // the last round is closed: its checkpoint is awaited
)

// state is everything that applying statements changes. Its JSON is the
// snapshot. Every slice is replaced, never written to, so that a [View] may
// share it.
type state struct {
	Version int          `json:"version"` // of the snapshot format: 1
	Run     run.ID       `json:"run"`
	Log     treeLog      `json:"log"`
	Roots   []rootAt     `json:"roots"` // of the log's last sizes, oldest first
	Seen    []digest.Sum `json:"seen"`  // statements applied last, oldest first

	Started  bool   `json:"started"`
	Halted   string `json:"halted"` // why; "" if not
	Held     bool   `json:"held"`   // paused by Control
	Short    string `json:"short"`  // why no round can open; "" if one can
	Finish   bool   `json:"finish"` // by Control
	Finished bool   `json:"finished"`

	Accepted     []identity.Address `json:"accepted"`
	Coordinators []identity.Address `json:"coordinators"`
	Distrusted   []identity.Address `json:"distrusted"` // coordinators that equivocated
	Auditors     []identity.Address `json:"auditors"`
	Members      []Member           `json:"members"`
	Changes      uint64             `json:"changes"`  // Member statements applied
	Controls     uint64             `json:"controls"` // Control statements applied
	Rewinds      uint64             `json:"rewinds"`  // Rewind statements applied
	Pending      []run.Signed       `json:"pending"`  // fewer than k signatures yet

	Phase   Phase  `json:"phase"`
	Round   uint64 `json:"round"`   // under way, or gathered for; in End the last one
	Highest uint64 `json:"highest"` // round that was ever opened
	Attempt uint64 `json:"attempt"` // 0 in Gather and Compute; then the ring's, under way or next
	Step    uint64 `json:"step"`    // closed rounds that are not void
	Skips   int    `json:"skips"`   // in a row

	Pinned digest.Sum         `json:"pinned"` // root the next round starts from; zero: its voters decide
	Voters []identity.Address `json:"voters"` // contributors of the last closed round
	Late   []identity.Address `json:"late"`   // others that the next round waits for
	Ready  []Readiness        `json:"ready"`  // for (Round, Attempt), by address

	Heard []Readiness `json:"heard"` // contributors of the last closed round on the state after it; empty until a round opened on their word

	Current Current      `json:"current"` // the round that was opened last
	Ledger  run.Ledger   `json:"ledger"`
	Last    Closing      `json:"last"`    // the last closed round that is not void
	History []past       `json:"history"` // closed rounds after the older signed checkpoint
	Due     []Checkpoint `json:"due"`     // not signed by k coordinators yet, oldest first
	Signed  []Checkpoint `json:"signed"`  // the last two, oldest first; the first is of round 0
}

// Member is a key that may take part.
type Member struct {
	Address identity.Address `json:"address"`
	Expired string           `json:"expired"` // why; "" if not. Ready ends it
	Barred  bool             `json:"barred"`  // equivocated: may not say Ready
	Spoke   uint64           `json:"spoke"`   // size of the log when it last said something, or was admitted
}

// Readiness is a member's Ready for the round and attempt under way.
type Readiness struct {
	Member identity.Address `json:"member"`
	State  digest.Sum       `json:"state"`
	Times  int              `json:"times"` // said so often, each time with another state
}

// Current is the round that was opened last; it stays, as evidence, until the
// next one opens.
type Current struct {
	Round        uint64             `json:"round"`
	State        digest.Sum         `json:"state"`
	Roster       []identity.Address `json:"roster"`
	Spans        []run.Span         `json:"spans"`
	Gone         []identity.Address `json:"gone"` // expired, removed, barred or excluded since OPEN
	Commits      []Commitment       `json:"commits"`
	Contributors []identity.Address `json:"contributors"` // of the last ring
	Results      []Outcome          `json:"results"`      // of every attempt
	Fault        string             `json:"fault"`        // of the ring under way; "" if none
	Broken       []identity.Address `json:"broken"`       // signer and accused of each Fault that aborted a ring
	Ties         int                `json:"ties"`         // rings whose results had no majority
}

// Commitment is a member's Commit.
type Commitment struct {
	Member    identity.Address `json:"member"`
	Commit    run.Commit       `json:"commit"`
	Statement digest.Sum       `json:"statement"` // SHA-256 of the signed statement
}

// Outcome is a contributor's Result.
type Outcome struct {
	Member    identity.Address `json:"member"`
	Result    run.Result       `json:"result"`
	Statement digest.Sum       `json:"statement"`
}

// Closing is what a closed round leaves behind. Its zero value stands for the
// start of the run.
type Closing struct {
	Round        uint64             `json:"round"`
	Step         uint64             `json:"step"`
	Contributors []identity.Address `json:"contributors"`
	Reduced      digest.Sum         `json:"reduced"`
	LogSize      uint64             `json:"log_size"` // of the log up to and with CLOSED
	LogRoot      digest.Sum         `json:"log_root"`
}

// past is what a Rewind must undo.
type past struct {
	Round    uint64      `json:"round"`
	Consumed []run.Range `json:"consumed"`
	Rejected []run.Range `json:"rejected"`
}

// rootAt is the log's root at a size.
type rootAt struct {
	Size uint64     `json:"size"`
	Root digest.Sum `json:"root"`
}

func has(list []identity.Address, a identity.Address) bool {
	_, ok := slices.BinarySearchFunc(list, a, identity.Address.Compare)
	return ok
}

// with returns a sorted list that also holds a.
func with(list []identity.Address, a identity.Address) []identity.Address {
	i, ok := slices.BinarySearchFunc(list, a, identity.Address.Compare)
	if ok {
		return list
	}
	return slices.Insert(slices.Clone(list), i, a)
}

// without returns list with every address that drop names left out.
func without(list []identity.Address, drop ...identity.Address) []identity.Address {
	out := make([]identity.Address, 0, len(list))
	for _, a := range list {
		if !slices.Contains(drop, a) {
			out = append(out, a)
		}
	}
	return out
}

// member returns the index of a in Members, or -1.
func (s *state) member(a identity.Address) int {
	return slices.IndexFunc(s.Members, func(m Member) bool { return m.Address == a })
}

// setMember replaces or adds a member.
func (s *state) setMember(m Member) {
	i, ok := slices.BinarySearchFunc(s.Members, m.Address, func(x Member, a identity.Address) int { return x.Address.Compare(a) })
	s.Members = slices.Clone(s.Members)
	if ok {
		s.Members[i] = m
		return
	}
	s.Members = slices.Insert(s.Members, i, m)
}

// active reports whether a is a member that is neither expired nor barred.
func (s *state) active(a identity.Address) bool {
	i := s.member(a)
	return i >= 0 && s.Members[i].Expired == "" && !s.Members[i].Barred
}

// readyFor returns the state that a named for (Round, Attempt).
func (s *state) readyFor(a identity.Address) (digest.Sum, bool) {
	for _, r := range s.Ready {
		if r.Member == a {
			return r.State, true
		}
	}
	return digest.Sum{}, false
}

// setReady replaces or adds a's Ready.
func (s *state) setReady(r Readiness) {
	s.dropReady(r.Member)
	i, _ := slices.BinarySearchFunc(s.Ready, r.Member, func(x Readiness, a identity.Address) int { return x.Member.Compare(a) })
	s.Ready = slices.Insert(s.Ready, i, r)
}

func (s *state) dropReady(a identity.Address) {
	s.Ready = slices.DeleteFunc(slices.Clone(s.Ready), func(r Readiness) bool { return r.Member == a })
}

// underWay reports whether a round is open.
func (s *state) underWay() bool { return s.Phase == Compute || s.Phase == Reduce || s.Phase == Again }

// gone reports whether a takes no part any more in the round that was opened
// last.
func (s *state) gone(a identity.Address) bool { return has(s.Current.Gone, a) }

func (c Current) commit(a identity.Address) (Commitment, bool) {
	for _, k := range c.Commits {
		if k.Member == a {
			return k, true
		}
	}
	return Commitment{}, false
}

func (c Current) result(attempt uint64, a identity.Address) (Outcome, bool) {
	for _, r := range c.Results {
		if r.Member == a && r.Result.Attempt == attempt {
			return r, true
		}
	}
	return Outcome{}, false
}

// trusted returns the coordinators whose signatures count.
func (s *state) trusted() []identity.Address { return without(s.Coordinators, s.Distrusted...) }
