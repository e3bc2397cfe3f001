package state

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

func (m *Machine) judgeAccept(by identity.Address, st run.Accept) (func(), error) {
	switch {
	case !has(m.s.Coordinators, by):
		return nil, fmt.Errorf("only coordinators accept a run")
	case st.Spec != m.id:
		return nil, fmt.Errorf("it accepts run %s, this is run %s", st.Spec.Short(), m.id.Short())
	case has(m.s.Accepted, by):
		return nil, nil
	}
	return func() { m.s.Accepted = with(m.s.Accepted, by) }, nil
}

// start lets rounds open once every coordinator has accepted.
func (m *Machine) start() bool {
	if m.s.Started {
		return false
	}
	for _, c := range m.s.Coordinators {
		if !has(m.s.Accepted, c) {
			return false
		}
	}
	m.s.Started = true
	m.emit(run.Started{})
	return true
}

func (m *Machine) judgeReady(by identity.Address, st run.Ready) (func(), error) {
	if m.s.member(by) < 0 {
		return nil, fmt.Errorf("not a member")
	}
	if st.Round != m.s.Round || m.s.Phase == End {
		return nil, fmt.Errorf("round %d is not awaited; the run is at round %d, phase %s", st.Round, m.s.Round, m.s.Phase)
	}
	switch {
	case m.s.Phase == Gather && st.Attempt == 0:
	case m.s.Phase == Again && st.Attempt == m.s.Attempt:
		return m.judgeReadyAgain(by, st)
	case m.s.underWay() && st.Attempt == 0:
		return m.judgeLate(by, st)
	default:
		return nil, fmt.Errorf("attempt %d of round %d is not awaited; the run is at attempt %d, phase %s", st.Attempt, st.Round, m.s.Attempt, m.s.Phase)
	}
	if !m.s.Pinned.IsZero() && st.State != m.s.Pinned {
		return m.judgeDissent(by, st, m.s.Pinned)
	}
	times := 1
	for _, r := range m.s.Ready {
		if r.Member != by {
			continue
		}
		if times += r.Times; r.State == st.State {
			return nil, nil
		}
	}
	if times > maxTimes {
		return nil, fmt.Errorf("it has named %d states for round %d already", maxTimes, st.Round)
	}
	return func() {
		m.s.setMember(Member{Address: by})
		m.s.setReady(Readiness{by, st.State, times})
	}, nil
}

// judgeLate takes a Ready{r, 0} that comes after OPEN(r). It is void for round
// r, but shows that its sender holds the state and follows: the next round
// waits for it. Without that, one that has to fetch what contributors have at
// hand would lose the race for ever.
func (m *Machine) judgeLate(by identity.Address, st run.Ready) (func(), error) {
	c := m.s.Current
	switch {
	case st.State != c.State:
		return m.judgeDissent(by, st, c.State)
	case slices.Contains(c.Roster, by) && !m.s.gone(by):
		return nil, nil // it is in
	case has(m.s.Late, by) && m.s.active(by):
		return nil, nil
	}
	return func() {
		m.s.setMember(Member{Address: by})
		m.s.Late = with(m.s.Late, by)
	}, nil
}

// judgeDissent takes the word of a contributor of the last closed round that
// another state follows it than the one that the others opened a round from
// without it. It is recorded, once; when dissenters outnumber those others, the
// run halts.
func (m *Machine) judgeDissent(by identity.Address, st run.Ready, from digest.Sum) (func(), error) {
	i := slices.IndexFunc(m.s.Heard, func(r Readiness) bool { return r.Member == by })
	if i >= 0 && m.s.Heard[i].State == st.State {
		return nil, nil
	}
	if i >= 0 || len(m.s.Heard) == 0 || !has(m.s.Voters, by) {
		return nil, fmt.Errorf("round %d starts from state %s, not %s; restore a checkpoint and catch up", st.Round, from.Short(), st.State.Short())
	}
	return func() {
		m.s.Heard = append(slices.Clone(m.s.Heard), Readiness{by, st.State, 1})
		votes, agree := []digest.Sum{}, 0
		for _, r := range m.s.Heard {
			if votes = append(votes, r.State); r.State == from {
				agree++
			}
		}
		if 2*agree < len(votes) {
			m.halt(fmt.Sprintf("most contributors of round %d name other states after it than the one the run goes on from: %s; rewind to a checkpoint if they are right; then resume", m.s.Last.Round, tally(votes)))
		}
	}, nil
}

// missing returns those that OPEN waits for, by address.
func (m *Machine) missing() []identity.Address {
	out := []identity.Address{}
	for _, list := range [][]identity.Address{m.s.Voters, m.s.Late} {
		for _, a := range list {
			if _, ok := m.s.readyFor(a); !ok && m.s.active(a) {
				out = with(out, a)
			}
		}
	}
	return out
}

// open opens the next round when nobody is missing and enough are Ready.
func (m *Machine) open() bool {
	if !m.s.Started || m.s.Held || m.s.Halted != "" || len(m.missing()) > 0 {
		return false
	}
	if len(m.s.Ready) == 0 && len(m.s.Voters) == 0 && m.s.Highest == 0 {
		return false // nobody was ever here: nothing to complain about
	}
	root, votes := m.startingRoot()
	if root.IsZero() && len(votes) == 0 {
		return m.short(fmt.Sprintf("no contributor of round %d is left to say which state follows it", m.s.Last.Round))
	}
	if root.IsZero() {
		m.halt(fmt.Sprintf("contributors of round %d disagree on the state after it: %s", m.s.Last.Round, tally(votes)))
		return true
	}
	if list, i := m.s.checkpoint(m.s.Last.Round); list != nil && !(*list)[i].Manifest.IsZero() && m.apart(m.s.Last.Round, (*list)[i].State, root) {
		return true
	}
	roster := []identity.Address{}
	for _, r := range m.s.Ready {
		if r.State == root {
			roster = append(roster, r.Member)
		}
	}
	if len(roster) < m.spec.MinMembers {
		return m.short(fmt.Sprintf("too few members: %d of %d ready", len(roster), m.spec.MinMembers))
	}
	if m.s.Short != "" {
		m.s.Short = ""
		m.emit(run.Resumed{})
	}
	m.openRound(root, m.seats(roster))
	return true
}

// seats cuts the members that are ready to as many as a round takes; who is
// left out changes from round to round.
func (m *Machine) seats(ready []identity.Address) []identity.Address {
	n := min(len(ready), m.spec.MaxMembers, m.spec.Batch/m.spec.Unit)
	roster := []identity.Address{}
	for i := range n {
		roster = with(roster, ready[(m.s.Round+uint64(i))%uint64(len(ready))])
	}
	return roster
}

// startingRoot returns the root that the next round starts from: the pinned
// one, or the one that more than half of the Ready voters name; zero if there
// is none, and then how they voted.
func (m *Machine) startingRoot() (digest.Sum, []digest.Sum) {
	if !m.s.Pinned.IsZero() {
		return m.s.Pinned, nil
	}
	votes := []digest.Sum{}
	for _, a := range m.s.Voters {
		if root, ok := m.s.readyFor(a); ok {
			votes = append(votes, root)
		}
	}
	root, n := plurality(votes)
	if 2*n > len(votes) {
		return root, votes
	}
	return digest.Sum{}, votes
}

func (m *Machine) openRound(root digest.Sum, roster []identity.Address) {
	m.hear(root)
	before := m.s.Ledger.Digest()
	spans, after := run.Assign(m.spec, m.s.Ledger, roster)
	m.s.Ledger = after
	m.s.Phase, m.s.Highest = Compute, m.s.Round
	m.s.Pinned = digest.Sum{}
	m.s.Ready, m.s.Late = []Readiness{}, []identity.Address{}
	none := []identity.Address{}
	m.s.Current = Current{
		Round: m.s.Round, State: root, Roster: roster, Spans: spans, Gone: none,
		Commits: []Commitment{}, Contributors: none, Results: []Outcome{}, Broken: none,
	}
	m.emit(run.Open{
		Round: m.s.Round, Step: m.s.Step + 1, State: root, Roster: roster, Spans: spans,
		Ledger: before, Revocations: run.NoRevocations, Scalars: run.Schedule(m.spec, m.s.Step+1),
	})
}

// hear keeps what contributors of the last closed round said about the state
// after it, if the round that opens now does so on their word.
func (m *Machine) hear(root digest.Sum) {
	m.opened(root)
	if !m.s.Pinned.IsZero() {
		return
	}
	m.s.Heard = []Readiness{}
	for _, r := range m.s.Ready {
		if has(m.s.Voters, r.Member) {
			m.s.Heard = append(m.s.Heard, r)
		}
	}
}

// short pauses the run, once, until enough members are Ready.
func (m *Machine) short(why string) bool {
	if m.s.Short != "" {
		return false
	}
	m.s.Short = why
	m.emit(run.Paused{Reason: why})
	return true
}

// halt stops the run until coordinators resume it.
func (m *Machine) halt(why string) {
	m.s.Halted = why
	m.emit(run.Halted{Reason: why})
}

// gatherNext makes the next round the one that is gathered for.
func (m *Machine) gatherNext() {
	m.s.Phase, m.s.Round, m.s.Attempt = Gather, m.s.Highest+1, 0
	m.s.Ready, m.s.Short = []Readiness{}, ""
}

// plurality returns the digest named most often, the smallest of several, and
// how often.
func plurality(votes []digest.Sum) (best digest.Sum, n int) {
	for _, c := range ballots(votes) {
		if c.n > n {
			best, n = c.root, c.n
		}
	}
	return best, n
}

type ballot struct {
	root digest.Sum
	n    int
}

// ballots counts votes, in the order of the digests.
func ballots(votes []digest.Sum) []ballot {
	var out []ballot
	sorted := slices.SortedFunc(slices.Values(votes), func(a, b digest.Sum) int { return cmp.Compare(a.String(), b.String()) })
	for _, v := range sorted {
		if n := len(out); n > 0 && out[n-1].root == v {
			out[n-1].n++
			continue
		}
		out = append(out, ballot{v, 1})
	}
	return out
}

// tally says how votes fell: "2 × 0a1b2c3d4e5f, 1 × …", all of them named.
func tally(votes []digest.Sum) string {
	text := ""
	for i, b := range ballots(votes) {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%d x %s", b.n, b.root)
	}
	return text
}
