package state

import (
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Checkpoint is what is known about the state after a closed round whose
// checkpoint is due, or signed.
type Checkpoint struct {
	Closing
	Manifest     digest.Sum         `json:"manifest"` // zero until more than half of the contributors agree
	State        digest.Sum         `json:"state"`
	Next         digest.Sum         `json:"next"`                   // root that the round after it opened from; zero until one has
	Members      []Signature        `json:"member_signatures"`      // by address
	Coordinators []Signature        `json:"coordinator_signatures"` // by address
	Lost         []identity.Address `json:"lost"`                   // contributors expired or removed since: they have no vote
}

// Signature is one signer's word for a checkpoint.
type Signature struct {
	Signer    identity.Address   `json:"signer"`
	Statement run.Checkpoint     `json:"statement"`
	Signature identity.Signature `json:"signature"`
	Name      digest.Sum         `json:"name"` // SHA-256 of the signed statement
}

// voters returns the contributors that have a vote on c.
func (c Checkpoint) voters() []identity.Address { return without(c.Contributors, c.Lost...) }

func find(list []Signature, a identity.Address) (Signature, bool) {
	for _, g := range list {
		if g.Signer == a {
			return g, true
		}
	}
	return Signature{}, false
}

func withSignature(list []Signature, g Signature) []Signature {
	i, _ := slices.BinarySearchFunc(list, g.Signer, func(x Signature, a identity.Address) int { return x.Signer.Compare(a) })
	return slices.Insert(slices.Clone(list), i, g)
}

// due makes the last closed round's checkpoint one that signatures are awaited
// for.
func (m *Machine) due() {
	c := Checkpoint{Closing: m.s.Last, Next: m.s.Pinned, Members: []Signature{}, Coordinators: []Signature{}, Lost: []identity.Address{}}
	for _, a := range c.Contributors {
		if !m.s.active(a) {
			c.Lost = with(c.Lost, a)
		}
	}
	m.s.Due = last(append(slices.Clone(m.s.Due), c), maxDue)
}

// checkpoint returns the list that holds a round's checkpoint, and where.
func (s *state) checkpoint(round uint64) (*[]Checkpoint, int) {
	for _, list := range []*[]Checkpoint{&s.Due, &s.Signed} {
		for i, c := range *list {
			if c.Round == round && c.Round > 0 {
				return list, i
			}
		}
	}
	return nil, 0
}

func (m *Machine) judgeCheckpoint(s said, st run.Checkpoint) (func(), error) {
	list, i := m.s.checkpoint(st.Round)
	if list == nil {
		return nil, fmt.Errorf("no checkpoint of round %d is awaited", st.Round)
	}
	c := (*list)[i]
	coordinator := has(m.s.Coordinators, s.by)
	signatures := c.Members
	if coordinator {
		signatures = c.Coordinators
	}
	if first, ok := find(signatures, s.by); ok {
		if first.Statement == st {
			return nil, nil
		}
		return m.equivocation(s, first.Name), nil
	}
	if coordinator && (c.Manifest.IsZero() || c.Manifest != st.Manifest || c.State != st.State) {
		return nil, fmt.Errorf("no majority of round %d's contributors has signed that manifest and state", st.Round)
	}
	g := Signature{s.by, st, s.Signatures[0], s.name}
	return func() {
		c := (*list)[i]
		if coordinator {
			c.Coordinators = withSignature(c.Coordinators, g)
		} else {
			c.Members = withSignature(c.Members, g)
			c.Lost = without(c.Lost, s.by) // one that returns counts again
		}
		*list = slices.Clone(*list)
		(*list)[i] = c
		if !coordinator && !c.Manifest.IsZero() && st.State != c.State {
			m.doubt(c)
		}
	}, nil
}

// doubt halts the run when more than half of all contributors, whoever was
// expired when the others agreed on a checkpoint, have signed another state.
func (m *Machine) doubt(c Checkpoint) {
	var states []digest.Sum
	n := 0
	for _, g := range c.Members {
		if !slices.Contains(c.Contributors, g.Signer) || m.s.member(g.Signer) < 0 || m.barred(g.Signer) {
			continue
		}
		if states = append(states, g.Statement.State); g.Statement.State != c.State {
			n++
		}
	}
	if 2*n > len(c.Contributors) {
		m.halt(fmt.Sprintf("most contributors of round %d signed other states than its checkpoint: %s; rewind to an earlier one if they are right; then resume", c.Round, tally(states)))
	}
}

// opened notes which root the run goes on from after the last closed round.
func (m *Machine) opened(root digest.Sum) {
	m.s.Due = slices.Clone(m.s.Due)
	for i, c := range m.s.Due {
		if c.Round == m.s.Last.Round {
			m.s.Due[i].Next = root
		}
	}
}

// lose ends the waiting for a's signature: it is expired, barred or removed.
// What an expired one has signed already still counts.
func (m *Machine) lose(a identity.Address) {
	trusted := m.s.member(a) >= 0 && !m.barred(a)
	m.s.Due = slices.Clone(m.s.Due)
	for i, c := range m.s.Due {
		if _, signed := find(c.Members, a); slices.Contains(c.Contributors, a) && !(signed && trusted) {
			m.s.Due[i].Lost = with(c.Lost, a)
		}
	}
}

// regain counts again what a signed: coordinators have admitted it again.
func (m *Machine) regain(a identity.Address) {
	m.s.Due = slices.Clone(m.s.Due)
	for i, c := range m.s.Due {
		if _, signed := find(c.Members, a); signed && c.Manifest.IsZero() {
			m.s.Due[i].Lost = without(c.Lost, a)
		}
	}
}

// settleCheckpoints makes one CHECKPOINTED or SIGNED that has become due.
func (m *Machine) settleCheckpoints() bool {
	if m.s.Phase == End && m.s.Short != "" && len(m.s.Due) > 0 && len(m.s.Due[len(m.s.Due)-1].voters()) > 0 {
		m.s.Short = ""
		m.emit(run.Resumed{})
		return true
	}
	for i, c := range m.s.Due {
		if c.Manifest.IsZero() {
			st, ok := c.agreed()
			if !ok || m.apart(c.Round, st.State, c.Next) {
				continue
			}
			m.s.Due = slices.Clone(m.s.Due)
			m.s.Due[i].Manifest, m.s.Due[i].State = st.Manifest, st.State
			m.emit(run.Checkpointed{Round: c.Round, Manifest: st.Manifest, State: st.State})
			return true
		}
		n := 0
		for _, g := range c.Coordinators {
			if has(m.s.trusted(), g.Signer) {
				n++
			}
		}
		if n >= run.Threshold(len(m.s.Coordinators)) {
			m.sign(c)
			return true
		}
	}
	return false
}

// apart reports whether what contributors signed as the state after a round is
// not what the run goes on from, and halts it then: one of the two is false.
func (m *Machine) apart(round uint64, signed, next digest.Sum) bool {
	if next.IsZero() || next == signed {
		return false
	}
	if m.s.Halted == "" {
		m.halt(fmt.Sprintf("the state after round %d is %s to those who signed its checkpoint and %s to those who go on from it; rewind to an earlier one; then resume", round, signed, next))
	}
	return true
}

// votes returns what c's voters signed, by address.
func (c Checkpoint) votes() []run.Checkpoint {
	var votes []run.Checkpoint
	for _, a := range c.voters() {
		if g, ok := find(c.Members, a); ok {
			votes = append(votes, g.Statement)
		}
	}
	return votes
}

// majority returns what more than half of c's voters signed.
func (c Checkpoint) majority() (run.Checkpoint, bool) {
	votes := c.votes()
	for _, v := range votes {
		n := 0
		for _, w := range votes {
			if w == v {
				n++
			}
		}
		if 2*n > len(c.voters()) {
			return v, true
		}
	}
	return run.Checkpoint{}, false
}

// agreed returns what more than half of c's voters signed, if none of them
// signed another state.
func (c Checkpoint) agreed() (run.Checkpoint, bool) {
	st, ok := c.majority()
	other := func(v run.Checkpoint) bool { return v.State != st.State }
	return st, ok && !slices.ContainsFunc(c.votes(), other)
}

// sign moves a checkpoint to the signed ones; older ones that are still due
// stay unsigned, for this one covers them.
func (m *Machine) sign(c Checkpoint) {
	m.s.Due = slices.DeleteFunc(slices.Clone(m.s.Due), func(x Checkpoint) bool { return x.Round <= c.Round })
	m.s.Signed = last(append(slices.Clone(m.s.Signed), c), 2)
	oldest := m.s.Signed[0].Round
	m.s.History = slices.DeleteFunc(slices.Clone(m.s.History), func(h past) bool { return h.Round <= oldest })
	m.emit(run.CheckpointSigned{Round: c.Round, Step: c.Step, Manifest: c.Manifest, State: c.State})
}

// unsigned returns the voters on the last checkpoint whose signature FINISHED
// waits for.
func (m *Machine) unsigned() []identity.Address {
	if len(m.s.Due) == 0 || !m.s.Due[len(m.s.Due)-1].Manifest.IsZero() {
		return nil
	}
	c, out := m.s.Due[len(m.s.Due)-1], []identity.Address{}
	for _, a := range c.voters() {
		if _, ok := find(c.Members, a); !ok {
			out = append(out, a)
		}
	}
	return out
}

// finish ends the run when its last checkpoint is signed.
func (m *Machine) finish() bool {
	if _, ok := m.s.signed(m.s.Last.Round); !ok {
		return m.decide()
	}
	m.s.Finished = true
	m.emit(run.Finished{Round: m.s.Last.Round, Step: m.s.Step})
	return true
}

// decide sees to it that the run's last checkpoint, which no later one covers,
// is agreed on: whoever signed another state than the majority loses its vote;
// without a majority the run halts, and without voters it waits, saying so.
func (m *Machine) decide() bool {
	c := m.s.Due[len(m.s.Due)-1]
	if !c.Manifest.IsZero() || len(m.unsigned()) > 0 || m.s.Halted != "" {
		return false
	}
	if len(c.voters()) == 0 {
		return m.short(fmt.Sprintf("no contributor of round %d is left to sign the last checkpoint; it waits for one of them to come back", c.Round))
	}
	st, ok := c.majority()
	if !ok {
		m.halt(fmt.Sprintf("contributors of round %d signed different last checkpoints: %s; remove who is wrong, or rewind; then resume", c.Round, c.tally()))
		return true
	}
	for _, a := range c.voters() {
		if g, _ := find(c.Members, a); g.Statement.State != st.State {
			m.s.Due = slices.Clone(m.s.Due)
			m.s.Due[len(m.s.Due)-1].Lost = with(c.Lost, a)
			m.expire(a, "signed another state than the majority")
			return true
		}
	}
	panic("state: a majority without dissent is agreed") // settleCheckpoints comes first
}

// tally says how c's votes fell: on states, or if all name one, on manifests.
func (c Checkpoint) tally() string {
	var states, manifests []digest.Sum
	for _, v := range c.votes() {
		states, manifests = append(states, v.State), append(manifests, v.Manifest)
	}
	if len(ballots(states)) == 1 {
		return "manifests " + tally(manifests) + " of one state, by different versions of the program"
	}
	return "states " + tally(states)
}
