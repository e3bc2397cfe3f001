package state

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

func (m *Machine) judgeCommit(s said, st run.Commit) (func(), error) {
	c := m.s.Current
	rank := slices.Index(c.Roster, s.by)
	if st.Round != c.Round || rank < 0 {
		return nil, fmt.Errorf("round %d does not await it; the run is at round %d, phase %s", st.Round, m.s.Round, m.s.Phase)
	}
	if first, ok := c.commit(s.by); ok {
		if first.Commit == st {
			return nil, nil
		}
		return m.equivocation(s, first.Statement), nil
	}
	if m.s.Phase != Compute || m.s.gone(s.by) {
		return nil, fmt.Errorf("it comes too late for round %d", st.Round)
	}
	if st.State != c.State {
		return nil, fmt.Errorf("round %d starts from state %s, not %s; restore a checkpoint and catch up", c.Round, c.State.Short(), st.State.Short())
	}
	if loss := float64(math.Float32frombits(st.Loss)); math.IsNaN(loss) || math.IsInf(loss, 0) {
		return nil, fmt.Errorf("the loss is not finite; a unit that is not must be declared as rejected")
	}
	units := c.Spans[rank].Units(m.spec)
	rejected, err := run.ParseUnits(st.Rejected, units)
	if err != nil {
		return nil, err
	}
	if most := uint64((units - len(rejected)) * m.spec.Unit * m.spec.Sequence); st.Targets > most {
		return nil, fmt.Errorf("%d targets, the units that are not rejected have at most %d", st.Targets, most)
	}
	return func() {
		m.s.Current.Commits = append(slices.Clone(c.Commits), Commitment{s.by, st, s.name})
	}, nil
}

func (m *Machine) judgeResult(s said, st run.Result) (func(), error) {
	c := m.s.Current
	if st.Round != c.Round || !slices.Contains(c.Roster, s.by) {
		return nil, fmt.Errorf("round %d does not await it; the run is at round %d, phase %s", st.Round, m.s.Round, m.s.Phase)
	}
	if first, ok := c.result(st.Attempt, s.by); ok {
		if first.Result == st {
			return nil, nil
		}
		return m.equivocation(s, first.Statement), nil
	}
	if m.s.Phase != Reduce || st.Attempt != m.s.Attempt || m.s.gone(s.by) || !slices.Contains(c.Contributors, s.by) {
		return nil, fmt.Errorf("ring %d of round %d does not await it; the run is at attempt %d, phase %s", st.Attempt, st.Round, m.s.Attempt, m.s.Phase)
	}
	if want := run.ContributorsDigest(c.Round, m.s.Attempt, c.Contributors); st.Contributors != want {
		return nil, fmt.Errorf("it is about contributors %s, ring %d has %s", st.Contributors.Short(), m.s.Attempt, want.Short())
	}
	return func() {
		m.s.Current.Results = append(slices.Clone(c.Results), Outcome{s.by, st, s.name})
	}, nil
}

func (m *Machine) judgeFault(by identity.Address, st run.Fault) (func(), error) {
	c := m.s.Current
	if m.s.Phase != Reduce || st.Round != c.Round || st.Attempt != m.s.Attempt {
		return nil, fmt.Errorf("ring %d of round %d is not under way", st.Attempt, st.Round)
	}
	if m.s.gone(by) || !slices.Contains(c.Contributors, by) || !slices.Contains(c.Contributors, st.Accused) || st.Accused == by {
		return nil, fmt.Errorf("it takes two contributors of ring %d, the signer and another", st.Attempt)
	}
	if _, ok := c.result(st.Attempt, by); ok {
		return nil, fmt.Errorf("it has already given its result")
	}
	if err := printable("phase", st.Phase, 32); err != nil {
		return nil, err
	}
	return func() {
		m.s.Current.Broken = append(slices.Clone(c.Broken), by, st.Accused)
		m.s.Current.Fault = fmt.Sprintf("%s lost %s in %s, step %d", by.Short(), st.Accused.Short(), st.Phase, st.Step)
	}, nil
}

func (m *Machine) judgeReadyAgain(by identity.Address, st run.Ready) (func(), error) {
	c := m.s.Current
	if m.s.gone(by) || !slices.Contains(c.Contributors, by) {
		return nil, fmt.Errorf("it is not among the contributors of round %d that are left", c.Round)
	}
	if st.State != c.State {
		return nil, fmt.Errorf("round %d starts from state %s, not %s", c.Round, c.State.Short(), st.State.Short())
	}
	if _, ok := m.s.readyFor(by); ok {
		return nil, nil
	}
	return func() { m.s.setReady(Readiness{by, st.State, 1}) }, nil
}

// uncommitted returns those of the roster that still compute.
func (m *Machine) uncommitted() []identity.Address {
	out := []identity.Address{}
	for _, a := range m.s.Current.Roster {
		if _, ok := m.s.Current.commit(a); !ok && !m.s.gone(a) {
			out = append(out, a)
		}
	}
	return out
}

// ring starts the round's first ring when all have committed.
func (m *Machine) ring() bool {
	if len(m.uncommitted()) > 0 {
		return false
	}
	m.s.Attempt = 1
	m.startRing(without(m.s.Current.Roster, m.s.Current.Gone...))
	return true
}

// notAgain returns the contributors whose word an aborted round waits for.
func (m *Machine) notAgain() []identity.Address {
	out := []identity.Address{}
	for _, a := range without(m.s.Current.Contributors, m.s.Current.Gone...) {
		if _, ok := m.s.readyFor(a); !ok {
			out = append(out, a)
		}
	}
	return out
}

// ringAgain starts the next ring when all who are left are Ready for it.
func (m *Machine) ringAgain() bool {
	if len(m.notAgain()) > 0 {
		return false
	}
	m.startRing(without(m.s.Current.Contributors, m.s.Current.Gone...))
	return true
}

func (m *Machine) startRing(contributors []identity.Address) {
	var targets uint64
	for _, a := range contributors {
		k, _ := m.s.Current.commit(a)
		targets += k.Commit.Targets
	}
	if targets == 0 {
		why := "no contributor has anything to add"
		if len(contributors) == 0 {
			why = "no contributor is left"
		}
		m.skip(why)
		return
	}
	m.s.Phase, m.s.Ready = Reduce, []Readiness{}
	m.s.Current.Contributors, m.s.Current.Fault = contributors, ""
	m.emit(run.Ring{Round: m.s.Round, Attempt: m.s.Attempt, Contributors: contributors})
}

// unreported returns the contributors that the ring under way waits for.
func (m *Machine) unreported() []identity.Address {
	out := []identity.Address{}
	for _, a := range without(m.s.Current.Contributors, m.s.Current.Gone...) {
		if _, ok := m.s.Current.result(m.s.Attempt, a); !ok {
			out = append(out, a)
		}
	}
	return out
}

// close ends the ring under way, one way or the other, when it can be known.
func (m *Machine) close() bool {
	c := m.s.Current
	if c.Fault != "" {
		m.abort(c.Fault, nil)
		m.sitOut()
		return true
	}
	var all []digest.Sum          // results of every contributor, gone or not
	var others []identity.Address // not gone, with another digest than most
	lost := false
	for _, a := range c.Contributors {
		lost = lost || m.s.gone(a)
		if r, ok := c.result(m.s.Attempt, a); ok && !m.barred(a) {
			all = append(all, r.Result.Reduced)
		}
	}
	reduced, n := plurality(all)
	majority := 2*n > len(c.Contributors)
	if lost && !majority {
		m.abort("a contributor is gone", nil)
		return true
	}
	if len(m.unreported()) > 0 {
		return false
	}
	for _, a := range without(c.Contributors, c.Gone...) {
		if r, _ := c.result(m.s.Attempt, a); r.Result.Reduced != reduced {
			others = append(others, a)
		}
	}
	switch {
	case !majority:
		m.tie(all)
	case len(others) > 0:
		m.abort("results differ: "+tally(all), others)
	default:
		m.closeRound(reduced)
	}
	return true
}

// sitOut takes out of the round whoever had a part, as signer or as accused, in
// two Faults that aborted its rings: one of each two lies or cannot be reached,
// and the third ring is the last. A Fault at one that has been expired since is
// explained. If nobody would be left, they stay.
func (m *Machine) sitOut() {
	c := m.s.Current
	var once, twice []identity.Address
	for pair := range slices.Chunk(c.Broken, 2) {
		if m.s.gone(pair[0]) || m.s.gone(pair[1]) {
			continue
		}
		for _, a := range pair {
			if has(once, a) {
				twice = with(twice, a)
			}
			once = with(once, a)
		}
	}
	if m.s.Phase != Again || len(without(c.Contributors, append(twice, c.Gone...)...)) == 0 {
		return
	}
	for _, a := range twice {
		m.expire(a, fmt.Sprintf("had a part in two broken rings of round %d", c.Round))
	}
}

// tie aborts a ring whose results have no majority; the second time in a round
// the run halts.
func (m *Machine) tie(votes []digest.Sum) {
	m.s.Current.Ties++
	why := "results differ without a majority: " + tally(votes)
	if m.s.Current.Ties < 2 {
		m.abort(why, nil)
		return
	}
	m.emit(run.Aborted{Round: m.s.Round, Attempt: m.s.Attempt, Reason: why, Excluded: []identity.Address{}})
	m.skip(why)
	if m.s.Halted == "" {
		m.halt(fmt.Sprintf("round %d: %s", m.s.Current.Round, why))
	}
}

func (m *Machine) barred(a identity.Address) bool {
	i := m.s.member(a)
	return i >= 0 && m.s.Members[i].Barred
}

// abort ends the ring under way; the excluded are out of the round.
func (m *Machine) abort(why string, excluded []identity.Address) {
	m.emit(run.Aborted{Round: m.s.Round, Attempt: m.s.Attempt, Reason: why, Excluded: append([]identity.Address{}, excluded...)})
	for _, a := range excluded {
		m.s.Current.Gone = with(m.s.Current.Gone, a)
	}
	if m.s.Attempt == maxRings {
		m.skip(fmt.Sprintf("%d rings failed", maxRings))
		return
	}
	m.s.Phase, m.s.Ready = Again, []Readiness{}
	m.s.Attempt++
}

// skip ends the round under way without a result.
func (m *Machine) skip(why string) {
	m.dropRound(why)
	m.s.Skips++
	if m.s.Finish {
		m.endHere()
		return
	}
	if m.s.Skips == maxSkips {
		m.s.Skips = 0
		m.halt(fmt.Sprintf("%d rounds in a row were skipped, the last because %s", maxSkips, why))
	}
}

// dropRound returns the samples of the round under way and gathers for the
// next, from the same state. Those who were in it are waited for.
func (m *Machine) dropRound(why string) {
	c := m.s.Current
	m.s.Ledger = m.s.Ledger.Return()
	m.s.Pinned = c.State
	for _, a := range without(c.Roster, c.Gone...) {
		m.s.Late = with(m.s.Late, a)
	}
	m.emit(run.Skipped{Round: c.Round, Reason: why})
	m.gatherNext()
}

// consume takes what was assigned into the ledger as p says, and returns the
// rest. It returns p with its ranges joined.
func (m *Machine) consume(p past) past {
	var err [4]error
	p.Consumed, err[0] = run.Join(p.Consumed)
	p.Rejected, err[1] = run.Join(p.Rejected)
	ledger := m.s.Ledger
	ledger, err[2] = ledger.Consume(p.Consumed)
	ledger, err[3] = ledger.Reject(p.Rejected)
	if e := errors.Join(err[:]...); e != nil {
		panic("state: ledger invariant broken: " + e.Error())
	}
	m.s.Ledger = ledger.Return()
	return p
}

// closeRound consumes the contributors' samples and returns the others'.
func (m *Machine) closeRound(reduced digest.Sum) {
	c := m.s.Current
	var loss float64
	closed := run.Closed{Round: c.Round, Attempt: m.s.Attempt, Step: m.s.Step + 1, Reduced: reduced, Contributors: c.Contributors}
	now := past{Round: c.Round, Consumed: []run.Range{}, Rejected: []run.Range{}}
	for _, a := range c.Contributors {
		k, _ := c.commit(a)
		closed.Targets += k.Commit.Targets
		loss += float64(math.Float32frombits(k.Commit.Loss))
		good, bad := c.Spans[slices.Index(c.Roster, a)].Split(m.spec, k.Commit.Rejected)
		now.Consumed, now.Rejected = append(now.Consumed, good...), append(now.Rejected, bad...)
	}
	closed.Loss = math.Float32bits(float32(loss))
	now = m.consume(now)
	m.s.History = append(slices.Clone(m.s.History), now)
	m.s.Step, m.s.Skips = closed.Step, 0
	final := m.s.Finish || closed.Step >= uint64(m.spec.Rounds)
	closed.Checkpoint = final || closed.Step%uint64(m.spec.Checkpoint) == 0
	m.emit(closed)
	size, root := m.Log()
	m.s.Last = Closing{c.Round, closed.Step, c.Contributors, reduced, size, root}
	m.s.Voters, m.s.Heard = c.Contributors, []Readiness{}
	if closed.Checkpoint {
		m.due()
	}
	if final {
		m.s.Phase, m.s.Attempt = End, 0
		m.s.Ready = []Readiness{}
		return
	}
	m.gatherNext()
}
