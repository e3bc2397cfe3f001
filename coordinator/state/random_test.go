package state_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// book is the ledger done the dumb way: one entry for every sample, written by
// reading the transitions as an auditor would.
type book struct {
	spec   run.Spec
	at     map[uint64]string // "free", "assigned", "consumed"
	round  map[uint64]uint64 // which round consumed it
	open   run.Open
	closed []uint64
}

func (b *book) read(t *testing.T, e state.Entry) {
	switch x := e.Transition.(type) {
	case run.Open:
		b.open = x
		n := 0
		for _, s := range x.Spans {
			for _, p := range run.Positions(s.Ranges) {
				if b.at[p] != "" && b.at[p] != "free" {
					t.Errorf("round %d is given sample %d, which is %s", x.Round, p, b.at[p])
				}
				b.at[p] = "assigned"
				n++
			}
		}
		if n != b.spec.Batch {
			t.Errorf("round %d is given %d samples", x.Round, n)
		}
	case run.Closed:
		for _, a := range x.Contributors {
			span := b.open.Spans[slices.Index(b.open.Roster, a)]
			for _, p := range run.Positions(span.Ranges) {
				b.at[p], b.round[p] = "consumed", x.Round
			}
		}
		b.closed = append(b.closed, x.Round)
		b.giveBack()
	case run.Skipped:
		b.giveBack()
	case run.Rewound:
		for p, r := range b.round {
			if b.at[p] == "consumed" && slices.Contains(x.Void, r) {
				b.at[p] = "free"
			}
		}
	}
}

func (b *book) giveBack() {
	for p, s := range b.at {
		if s == "assigned" {
			b.at[p] = "free"
		}
	}
}

func (b *book) check(t *testing.T, l run.Ledger) {
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	got := map[uint64]string{}
	for name, set := range map[string][]run.Range{"free": l.Free, "assigned": l.Assigned, "consumed": slices.Concat(l.Consumed, l.Rejected)} {
		for _, p := range run.Positions(set) {
			got[p] = name
		}
	}
	if !maps.Equal(got, b.at) {
		t.Fatalf("the ledger is %v, the book says %v", got, b.at)
	}
}

var seeds = flag.Uint64("seeds", 12, "how many random runs")

// TestRandom lets a run happen by chance and compares the ledger with the book
// after every statement.
func TestRandom(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			spec := testSpec(3, 4)
			spec.Rounds, spec.Checkpoint = 1000, 1+r.IntN(3)
			if seed%2 == 1 {
				spec.Rounds = 6 // so that its end is tested, too
			}
			m, err := state.New(spec)
			if err != nil {
				t.Fatal(err)
			}
			c := &chance{t: t, r: r, m: m, book: book{spec: spec, at: map[uint64]string{}, round: map[uint64]uint64{}}, names: map[identity.Address]string{}}
			for _, n := range slices.Concat(digits("c", 3), digits("m", 6)) {
				c.names[key(n).Address()] = n
			}
			for _, n := range digits("c", 3) {
				c.say(run.Accept{Spec: m.ID()}, n)
			}
			for range 250 {
				c.step()
			}
			if t.Logf("%d rounds closed", len(c.book.closed)); len(c.book.closed) == 0 {
				t.Error("no round was closed: this run tests nothing")
			}
			c.replay(spec)
		})
	}
}

type chance struct {
	t     *testing.T
	r     *rand.Rand
	m     *state.Machine
	log   [][]byte
	book  book
	names map[identity.Address]string
}

func (c *chance) say(st run.Statement, who ...string) {
	slices.SortFunc(who, func(a, b string) int { return key(a).Address().Compare(key(b).Address()) })
	signed := run.Signed{Statement: st}
	for _, n := range slices.Compact(who) {
		g, err := key(n).Sign(c.m.ID(), st)
		if err != nil {
			c.t.Fatal(err)
		}
		signed.Signatures = append(signed.Signatures, g)
	}
	if c.r != nil && c.r.IntN(8) == 0 {
		c.try(signed)
	}
	entries, _ := c.m.Apply(signed)
	for _, e := range entries {
		c.log = append(c.log, e.Bytes)
		c.book.read(c.t, e)
	}
	c.book.check(c.t, c.m.View().Ledger)
	c.waits()
}

// try applies a statement to a copy: the machine never writes to what it shares.
func (c *chance) try(signed run.Signed) {
	before, err1 := c.m.Snapshot()
	trial := *c.m
	_, _ = trial.Apply(signed) // refused or not
	after, err2 := c.m.Snapshot()
	if err1 != nil || err2 != nil || !bytes.Equal(before, after) {
		c.t.Fatalf("%s applied to a copy changed the machine: %v, %v", signed.Statement.Kind(), err1, err2)
	}
}

// waits checks that a run that says it is running waits for somebody: a member,
// or coordinators' signatures of a checkpoint that members agreed on.
func (c *chance) waits() {
	v := c.m.View()
	signing := v.Phase == state.End && len(v.Due) > 0 && !v.Due[len(v.Due)-1].Manifest.IsZero()
	if v.Status == state.Running && len(v.Awaited) == 0 && !signing {
		c.t.Fatalf("running, but nobody is awaited: phase %s, round %d, members %v", v.Phase, v.Round, v.Members)
	}
}

// pick returns one of few names, so that nonsense agrees with itself at times.
func (c *chance) pick(name string, n int) digest.Sum {
	return digest.Of(fmt.Appendf(nil, "%s %d", name, c.r.IntN(n)))
}

// step says one thing: most often what the run waits for, sometimes not.
func (c *chance) step() {
	v := c.m.View()
	root := v.Pinned
	if root.IsZero() {
		root = digest.Of(fmt.Append(nil, v.Last.Round))
	}
	if v.Phase != state.Gather {
		root = v.State
	}
	if len(v.Awaited) > 0 && c.r.IntN(10) < 8 {
		c.serve(v, v.Awaited[c.r.IntN(len(v.Awaited))], root)
		return
	}
	anyone := fmt.Sprintf("m%d", 1+c.r.IntN(6))
	coordinators := []string{fmt.Sprintf("c%d", 1+c.r.IntN(3)), fmt.Sprintf("c%d", 1+c.r.IntN(3))}
	switch c.r.IntN(12) {
	case 0:
		c.say(run.Ready{Round: v.Round, Attempt: v.Attempt, State: root}, anyone)
	case 1, 2:
		c.say(run.Ready{Round: v.Round, State: root}, anyone)
	case 3:
		c.say(run.Fault{Round: v.Round, Attempt: v.Attempt, Accused: key("m1").Address(), Phase: "gather"}, anyone)
	case 4:
		for _, a := range v.Awaited {
			c.say(run.Expire{Round: v.Round, Attempt: v.Attempt, Size: c.m.View().LogSize, Accused: a, Reason: "silent"}, coordinators[0])
		}
	case 5:
		actions := []string{run.Pause, run.Resume, run.Resume, run.Resume}
		if c.book.spec.Rounds < 10 && c.r.IntN(20) == 0 {
			actions[0] = run.Finish
		}
		c.say(run.Control{Number: v.NextControl, Action: actions[c.r.IntN(4)]}, coordinators...)
	case 6:
		if c.r.IntN(4) == 0 {
			s := v.Signed[c.r.IntN(len(v.Signed))]
			c.say(run.Rewind{Number: v.NextRewind, Round: s.Round, Manifest: s.Manifest}, coordinators...)
		}
	case 7:
		actions := []string{run.Admit, run.Admit, run.Remove}
		c.say(run.Member{Number: v.NextMember, Action: actions[c.r.IntN(3)], Role: run.RoleMember, Subject: key(anyone).Address()}, coordinators...)
	default:
		for _, d := range v.Due {
			who := append(coordinators[:1:1], "m1", "m2", "m3", "m4", "m5", "m6")[c.r.IntN(7)]
			c.say(run.Checkpoint{Round: d.Round, Manifest: c.pick("manifest", 1), State: digest.Of(fmt.Append(nil, d.Round))}, who)
		}
	}
}

// serve says what the run waits for from one member.
func (c *chance) serve(v state.View, a identity.Address, root digest.Sum) {
	who := c.names[a]
	switch v.Phase {
	case state.Gather, state.Again:
		if c.r.IntN(20) == 0 {
			root = c.pick("wrong", 2)
		}
		c.say(run.Ready{Round: v.Round, Attempt: v.Attempt, State: root}, who)
	case state.End:
		d := v.Due[len(v.Due)-1]
		c.say(run.Checkpoint{Round: d.Round, Manifest: c.pick("manifest", 1), State: digest.Of(fmt.Append(nil, d.Round+uint64(c.r.IntN(8)/7)))}, who)
	case state.Compute:
		rejected := ""
		if c.r.IntN(4) == 0 {
			rejected = "0"
		}
		c.say(run.Commit{Round: v.Round, State: v.State, Contribution: c.pick("work", 3), Targets: 3, Rejected: rejected}, who)
	case state.Reduce:
		reduced := c.pick("sum", 1)
		if c.r.IntN(8) == 0 {
			reduced = c.pick("wrong", 2)
		}
		c.say(run.Result{Round: v.Round, Attempt: v.Attempt, Contributors: run.ContributorsDigest(v.Round, v.Attempt, v.Contributors), Reduced: reduced}, who)
	}
}

// replay checks that the log alone gives the same machine.
func (c *chance) replay(spec run.Spec) {
	m, err := state.Replay(spec, func(yield func([]byte, error) bool) {
		for _, b := range c.log {
			if !yield(b, nil) {
				return
			}
		}
	})
	if err != nil {
		c.t.Fatal(err)
	}
	got, err1 := m.Snapshot()
	want, err2 := c.m.Snapshot()
	if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
		c.t.Error("the log's replay is not the machine that wrote it", err1, err2)
	}
	back, err := state.Restore(spec, want)
	if err != nil {
		c.t.Fatal(err)
	}
	if b, err := back.Snapshot(); err != nil || !bytes.Equal(b, want) {
		c.t.Error("the restored machine differs", err)
	}
}
