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
	c := Checkpoint{Closing: m.s.Last, Members: []Signature{}, Coordinators: []Signature{}, Lost: []identity.Address{}}
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
	member, coordinator := m.s.member(s.by) >= 0, has(m.s.Coordinators, s.by)
	if !member && !coordinator {
		return nil, fmt.Errorf("neither a member nor a coordinator")
	}
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
	if m.barred(s.by) || has(m.s.Distrusted, s.by) {
		return nil, fmt.Errorf("its signatures do not count: it said two different things")
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
		}
		*list = slices.Clone(*list)
		(*list)[i] = c
	}, nil
}

// lose takes a's vote on checkpoints that are due: it is expired or removed.
func (m *Machine) lose(a identity.Address) {
	m.s.Due = slices.Clone(m.s.Due)
	for i := range m.s.Due {
		if slices.Contains(m.s.Due[i].Contributors, a) {
			m.s.Due[i].Lost = with(m.s.Due[i].Lost, a)
		}
	}
}

// settleCheckpoints makes one CHECKPOINTED or SIGNED that has become due.
func (m *Machine) settleCheckpoints() bool {
	for i, c := range m.s.Due {
		if c.Manifest.IsZero() {
			st, ok := c.agreed()
			if !ok {
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

// agreed returns what more than half of c's voters signed, if none of them
// signed another state.
func (c Checkpoint) agreed() (run.Checkpoint, bool) {
	var votes []run.Checkpoint
	for _, a := range c.voters() {
		if g, ok := find(c.Members, a); ok {
			votes = append(votes, g.Statement)
		}
	}
	for _, v := range votes {
		n := 0
		for _, w := range votes {
			if w.State != v.State {
				return run.Checkpoint{}, false
			}
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
		return false
	}
	m.s.Finished = true
	m.emit(run.Finished{Round: m.s.Last.Round, Step: m.s.Step})
	return true
}
