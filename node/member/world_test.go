package member_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// world is a run in one goroutine: the coordinators' machine, members with
// their disks, and jobs that finish when the script lets them. Numbers are
// replaced by digests: a contribution is the hash of what it was computed
// from, a reduced vector that of the contributions in it, a state that of the
// one before and the vector applied.
type world struct {
	t       *testing.T
	spec    run.Spec
	machine *state.Machine
	log     []state.Entry
	actors  []*actor
	commits map[digest.Sum]digest.Sum // contribution by H(round, member)
	held    map[string]bool           // "m2 Ring": such a job does not finish
	wrong   map[string]int            // "m2 Ring": so many such jobs lie
	mute    map[string]bool           // coordinators that do not sign
	names   map[string]string
	out     strings.Builder
	crash   func(*actor) bool // asked at each point where a process may die; nil: never
}

// actor is a member's process and its disk.
type actor struct {
	w        *world
	name     string
	key      identity.Key
	alive    bool
	ended    bool
	member   *member.Member
	follower *state.Follower
	seen     int
	job      member.Action
	root     digest.Sum // the state in memory

	disk member.Disk
}

func key(name string) identity.Key {
	k, err := identity.New(sha256.Sum256([]byte("allmend test key " + name)))
	if err != nil {
		panic(err)
	}
	return k
}

func sum(parts ...any) digest.Sum { return digest.Of(fmt.Append(nil, parts...)) }

func newWorld(t *testing.T, coordinators, members, others int, edit func(*run.Spec)) *world {
	w := &world{
		t: t, commits: map[digest.Sum]digest.Sum{}, held: map[string]bool{}, wrong: map[string]int{}, mute: map[string]bool{},
		names: map[string]string{},
	}
	list := func(prefix string, n int) []identity.Address {
		out := []identity.Address{}
		for i := range n {
			out = append(out, key(fmt.Sprintf("%s%d", prefix, i+1)).Address())
		}
		slices.SortFunc(out, identity.Address.Compare)
		return out
	}
	w.spec = run.Spec{
		Version: 1, Name: "test",
		Model: model.Config{
			VocabSize: 64, HiddenSize: 8, IntermediateSize: 16, NumHiddenLayers: 1, NumAttentionHeads: 2, NumKeyValueHeads: 1,
			MaxPositionEmbeddings: 16, RopeTheta: "10000", RMSNormEps: "1e-5", InitStd: "0.02",
		},
		Sequences: 100, InitialState: sum("state 0"), Sequence: 16, Batch: 24, Unit: 2,
		Goldfish: run.Goldfish{K: 50, H: 50, Scheme: "apertus"},
		Optimizer: run.Optimizer{
			Name: "ademamix", LearningRate: "0.001", MinRate: "0", Beta1: "0.9", Beta2: "0.999", Beta3: "0.9999",
			Alpha: "8", Epsilon: "1e-8", WeightDecay: "0.1", Clip: "0.1",
		},
		Algorithm: "sync", Codec: "f32", Profile: "exact", Rounds: 3, Checkpoint: 2, MinMembers: 1, MaxMembers: 8,
		Coordinators: list("c", coordinators), Threshold: run.Threshold(coordinators), Members: list("m", members),
	}
	if edit != nil {
		edit(&w.spec)
	}
	var err error
	if w.machine, err = state.New(w.spec); err != nil {
		t.Fatal(err)
	}
	for i := range coordinators {
		w.names[key(fmt.Sprintf("c%d", i+1)).Address().String()] = fmt.Sprintf("c%d", i+1)
	}
	for i := range members + others {
		name := fmt.Sprintf("m%d", i+1)
		a := &actor{w: w, name: name, key: key(name)}
		w.names[a.key.Address().String()] = name
		w.names[a.key.Address().Short()] = name
		w.actors = append(w.actors, a)
	}
	return w
}

func (w *world) actor(name string) *actor {
	for _, a := range w.actors {
		if a.name == name {
			return a
		}
	}
	w.t.Fatalf("no member %q", name)
	return nil
}

func (w *world) coordinators() []string {
	var out []string
	for _, c := range w.machine.View().Coordinators {
		out = append(out, w.names[c.String()])
	}
	slices.Sort(out)
	return out
}

// say signs a statement with keys and applies it.
func (w *world) say(st run.Statement, who ...string) {
	slices.SortFunc(who, func(a, b string) int { return key(a).Address().Compare(key(b).Address()) })
	signed := run.Signed{Statement: st}
	for _, n := range who {
		g, err := key(n).Sign(w.machine.ID(), st)
		if err != nil {
			w.t.Fatal(err)
		}
		signed.Signatures = append(signed.Signatures, g)
	}
	entries, err := w.machine.Apply(signed)
	if err != nil {
		w.print("%v", err)
	}
	for _, e := range entries {
		w.log = append(w.log, e)
		if e.Transition == nil {
			continue
		}
		w.print("%s", w.describe(e.Transition))
	}
	for _, e := range entries {
		if t, ok := e.Transition.(run.Checkpointed); ok {
			w.sign(t)
		}
	}
}

// sign makes the coordinators sign what a majority of contributors agrees on.
func (w *world) sign(t run.Checkpointed) {
	for _, c := range w.coordinators() {
		if !w.mute[c] {
			w.say(run.Checkpoint(t), c)
		}
	}
}

// start begins a member's process with what is on its disk.
func (a *actor) start() {
	m, err := state.New(a.w.spec)
	if err != nil {
		a.w.t.Fatal(err)
	}
	a.alive, a.ended, a.seen, a.job, a.root = true, false, 0, nil, digest.Sum{}
	a.follower = state.Follow(m)
	a.member = member.New(a.key.Address(), a.w.spec, a.disk)
}

// hear brings the log's new entries, each of which it derives itself.
func (a *actor) hear() bool {
	if !a.alive || a.ended || a.seen == len(a.w.log) && a.seen > 0 {
		return false
	}
	var entries []state.Entry
	for _, e := range a.w.log[a.seen:] {
		own, err := a.follower.Next(e.Bytes)
		if err != nil {
			a.w.t.Fatalf("%s: %v", a.name, err)
		}
		if own.Root != e.Root || !bytes.Equal(own.Bytes, e.Bytes) {
			a.w.t.Fatalf("%s: record %d differs", a.name, e.Index)
		}
		entries = append(entries, own)
	}
	first := a.seen == 0
	a.seen = len(a.w.log)
	a.do(a.member.Step(member.Covered{Entries: entries, Live: true}))
	return len(entries) > 0 || first
}

// do carries out a member's actions; jobs wait until they may finish.
func (a *actor) do(actions []member.Action) {
	for _, action := range actions {
		if a.dies() { // with the rest undone
			return
		}
		a.w.print("%s %s", a.name, a.w.describe(action))
		switch x := action.(type) {
		case member.Submit:
			switch st := x.Statement.(type) {
			case run.Commit:
				a.disk.Commit = &st
				a.w.commits[sum(st.Round, a.key.Address())] = st.Contribution
			case run.Result:
				a.disk.Result = &st
			case run.Checkpoint:
				a.disk.Checkpoint = &st
			}
			if a.dies() { // durable, but not sent
				return
			}
			a.w.say(x.Statement, a.name)
		case member.Cancel:
			a.job = nil
		case member.DropContribution:
			if a.disk.Commit != nil && a.disk.Commit.Round == x.Round {
				a.disk.Vector = false
			}
		case member.Prune:
			a.disk.Checkpoints = slices.DeleteFunc(slices.Clone(a.disk.Checkpoints), func(c member.Checkpoint) bool { return c.Round < x.Round })
		case member.Finish, member.Diverged:
			a.ended = true
		case member.Halted, member.Removed:
		default:
			if a.job != nil {
				a.w.t.Errorf("%s gets a second job", a.name)
			}
			a.job = action
		}
	}
}

// dies kills a here, if the test wants it.
func (a *actor) dies() bool {
	if !a.alive || a.w.crash == nil || !a.w.crash(a) {
		return !a.alive
	}
	a.alive, a.job = false, nil
	return true
}

// work finishes the job under way, if it can be.
func (a *actor) work() bool {
	if !a.alive || a.job == nil || a.w.held[a.name+" "+kind(a.job)] {
		return false
	}
	e := a.finish()
	if e == nil {
		return false
	}
	if a.dies() { // durable, but not known
		return true
	}
	a.job = nil
	a.do(a.member.Step(e))
	return true
}

// lies reports whether the script wants the next job of a kind wrong.
func (a *actor) lies(what string) bool {
	a.w.wrong[a.name+" "+what]--
	return a.w.wrong[a.name+" "+what] >= 0
}

func (a *actor) finish() member.Event {
	switch job := a.job.(type) {
	case member.Restore:
		return a.restore(job)
	case member.FetchReduced:
		if !slices.ContainsFunc(a.w.actors, func(b *actor) bool { return b.alive && slices.Contains(b.disk.Reduced, job.Digest) }) {
			return member.Failed{Job: job.Job, Reason: "nobody has it"}
		}
		a.disk.Reduced = append(slices.Clone(a.disk.Reduced), job.Digest)
		return member.Fetched{Job: job.Job}
	case member.Apply:
		a.root = sum(a.root, job.Reduced, job.Step, job.Targets, job.Scalars)
		if a.lies("Apply") {
			a.root = sum(a.root, "wrong")
		}
		return member.Applied{Job: job.Job, Root: a.root}
	case member.Compute:
		a.disk.Vector = true
		if job.State != a.root {
			a.w.t.Errorf("%s computes round %d from state %s, holds %s", a.name, job.Round, job.State, a.root)
		}
		return member.Computed{Job: job.Job, Contribution: sum(job.Round, job.State, job.Span), Units: sum("units"), Targets: run.Count(job.Span.Ranges)}
	case member.Ring:
		return a.ring(job)
	case member.WriteCheckpoint:
		b, err := canonical.Marshal(struct {
			Round, Step, LogSize, Targets uint64
			State, Parent, LogRoot        digest.Sum
		}{job.Round, job.Step, job.LogSize, job.Targets, job.State, job.Parent, job.LogRoot})
		if err != nil {
			a.w.t.Fatal(err)
		}
		c := member.Checkpoint{Round: job.Round, State: job.State, Manifest: digest.Of(b), Local: true}
		a.disk.Checkpoints = append(slices.Clone(a.disk.Checkpoints), c)
		return member.CheckpointWritten{Job: job.Job, Manifest: c.Manifest}
	}
	a.w.t.Fatalf("%s: unknown job %T", a.name, a.job)
	return nil
}

func (a *actor) restore(job member.Restore) member.Event {
	c := job.Checkpoint
	kept := func(b *actor) bool {
		return slices.ContainsFunc(b.disk.Checkpoints, func(x member.Checkpoint) bool { return x.Round == c.Round && x.State == c.State })
	}
	switch {
	case c.Round == 0:
		a.root = a.w.spec.InitialState
	case c.Local && kept(a):
		a.root = c.State
	case slices.ContainsFunc(a.w.actors, func(b *actor) bool { return b.alive && kept(b) }):
		a.disk.Checkpoints = append(slices.Clone(a.disk.Checkpoints), c)
		a.root = c.State
	default:
		return member.Failed{Job: job.Job, Reason: "nobody has it"}
	}
	return member.Restored{Job: job.Job, Root: a.root}
}

// ring finishes when every contributor is in the same one: at once for those
// that the script does not hold.
func (a *actor) ring(job member.Ring) member.Event {
	var parts []any
	for _, c := range job.Contributors {
		b := a.w.actor(a.w.names[c.String()])
		other, in := b.job.(member.Ring)
		same := in && other.Digest == job.Digest
		done := b.disk.Result != nil && b.disk.Result.Contributors == job.Digest
		if !same && !done || same && !b.alive {
			return nil
		}
		parts = append(parts, a.w.commits[sum(job.Round, c)])
	}
	reduced := sum(parts...)
	if a.lies("Ring") {
		reduced = sum(reduced, "wrong")
	}
	a.disk.Reduced = append(slices.Clone(a.disk.Reduced), reduced)
	// What a real ring makes durable before its statement is durable too.
	a.disk.Result = &run.Result{Round: job.Round, Attempt: job.Attempt, Contributors: job.Digest, Reduced: reduced}
	return member.RingDone{Job: job.Job, Reduced: reduced}
}

// notice makes every living contributor whose ring has a dead member report it.
func (w *world) notice() {
	for _, a := range w.actors {
		job, ok := a.job.(member.Ring)
		if !a.alive || !ok {
			continue
		}
		for _, c := range job.Contributors {
			if b := w.actor(w.names[c.String()]); !b.alive {
				a.fault(c)
				break
			}
		}
	}
}

// fault breaks a's ring at another contributor.
func (a *actor) fault(accused identity.Address) {
	job := a.job.(member.Ring)
	a.job = nil
	a.do(a.member.Step(member.RingFailed{Job: job.Job, Accused: accused, Phase: "scatter", Step: 1}))
}

// settle runs everybody until nothing moves.
func (w *world) settle() {
	for range 10000 {
		moved := false
		for _, a := range w.actors {
			moved = a.hear() || moved
		}
		for _, a := range w.actors {
			moved = a.work() || moved
		}
		if !moved {
			return
		}
	}
	w.t.Fatal("the world does not come to rest")
}

// kind returns an action's name.
func kind(a any) string {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", a), ".")
	return name
}
