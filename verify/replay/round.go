package replay

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/allmend-network/allmend/allreduce"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Report says what a replayed round was compared with, bit for bit.
type Report struct {
	Round, Step uint64
	Checkpoint  uint64   // round of the checkpoint it started from
	Applied     []uint64 // rounds whose reduced vectors led from there to its start
	Before      digest.Sum
	Members     []Member // in the ring's order
	Reduced     digest.Sum
	Targets     uint64 // supervised tokens
	After       digest.Sum
}

// Member is one contributor whose work was done again.
type Member struct {
	Address        identity.Address
	Samples, Units int
	Contribution   digest.Sum
}

// Round replays a closed round from its start to the state after it. The error
// is a [*verify.Failure] naming what differs, a [*verify.Missing], or one of
// ctx or the machine.
func (a *Audit) Round(ctx context.Context, round uint64) (Report, error) {
	r, err := a.round(round)
	if err != nil {
		return Report{}, err
	}
	report := Report{Round: round, Step: r.Closed.Step, Reduced: r.Closed.Reduced, Targets: r.Closed.Targets}
	state, err := a.start(r, &report)
	if err != nil {
		return report, err
	}
	vectors, err := a.contributions(ctx, r, state, &report)
	if err != nil {
		return report, err
	}
	sum := allreduce.Dumb(vectors)
	if got := trainer.Root(sum); got != r.Closed.Reduced {
		return report, mismatch(fmt.Sprintf("round %d, the sum of its contributions in the ring's order", round), got, r.Closed.Reduced)
	}
	report.After, err = a.step(r, state, sum)
	return report, err
}

// round returns a closed round that can be replayed.
func (a *Audit) round(round uint64) (verify.Round, error) {
	for i, r := range a.Evidence.Rounds {
		if r.Closed.Round != round {
			continue
		}
		if why := a.lacks(i); why != "" {
			return r, &verify.Missing{What: fmt.Sprintf("the evidence to replay round %d", round), Hint: why}
		}
		return r, nil
	}
	return verify.Round{}, &verify.Missing{What: fmt.Sprintf("round %d", round), Hint: "the log closes no round of this number"}
}

// start returns the state at the start of r.
func (a *Audit) start(r verify.Round, report *Report) (*checkpoint.State, error) {
	from, _ := a.checkpointBefore(r.Closed.Round)
	state, m, err := a.Evidence.Checkpoint(a.Checkpoints[from])
	if err != nil {
		return nil, err
	}
	if m.Round != from {
		return nil, fail(a.Checkpoints[from], "it is the checkpoint of round %d, want %d", m.Round, from)
	}
	report.Checkpoint = from
	for _, earlier := range between(a.Evidence.Rounds, from, r.Closed.Round) {
		if got := state.Root(); got != earlier.Open.State {
			return nil, mismatch(fmt.Sprintf("round %d, the state at its start", earlier.Closed.Round), got, earlier.Open.State)
		}
		reduced, err := a.Evidence.Vector(earlier.Closed.Reduced)
		if err != nil {
			return nil, err
		}
		if _, err := a.step(earlier, state, reduced); err != nil {
			return nil, err
		}
		report.Applied = append(report.Applied, earlier.Closed.Round)
	}
	report.Before = state.Root()
	if report.Before != r.Open.State {
		return nil, mismatch(fmt.Sprintf("round %d, the state at its start", r.Closed.Round), report.Before, r.Open.State)
	}
	return state, nil
}

// step takes the optimizer step of r in place and returns the root of the state
// after it, which must be the one the log names.
func (a *Audit) step(r verify.Round, state *checkpoint.State, reduced []float32) (digest.Sum, error) {
	round := fmt.Sprintf("round %d", r.Closed.Round)
	scalars := run.Schedule(a.Evidence.Spec, r.Closed.Step)
	if got := bits(scalars); got != bits(r.Open.Scalars) {
		return digest.Sum{}, fail(round+", the optimizer's scalars", "the Spec gives %x, the record says %x", got, bits(r.Open.Scalars))
	}
	if err := trainer.Apply(a.Evidence.Spec, state, reduced, r.Closed.Targets, scalars); err != nil {
		return digest.Sum{}, &verify.Failure{What: round + ", the optimizer's step", Err: err}
	}
	after := state.Root()
	if !r.Next.IsZero() && after != r.Next {
		return after, mismatch(round+", the state after it", after, r.Next)
	}
	return after, nil
}

// bits are those of each scalar.
func bits(s run.Scalars) [5]uint32 {
	var b [5]uint32
	for i, f := range []float32{s.LearningRate, s.Bias1, s.Bias2, s.Beta3, s.Alpha} {
		b[i] = math.Float32bits(f)
	}
	return b
}

// contributions computes the vector of every contributor of r and compares each
// with its Commit.
func (a *Audit) contributions(ctx context.Context, r verify.Round, state *checkpoint.State, report *Report) ([][]float32, error) {
	work, err := trainer.New(a.Evidence.Spec, a.Device, a.Source)
	if err != nil {
		return nil, err
	}
	var total, done int
	for _, member := range r.Closed.Contributors {
		span, _ := r.Span(member)
		total += span.Units(a.Evidence.Spec)
	}
	var vectors [][]float32
	var targets uint64
	var loss float64
	for _, member := range r.Closed.Contributors {
		span, ok := r.Span(member)
		if !ok {
			return nil, fail(who(r, member), "it contributed, but is not in the round's roster")
		}
		c, err := a.contribute(ctx, work, state, span.Ranges, func(units int) { a.progress(done+units, total) })
		if err != nil {
			return nil, explain(who(r, member), err)
		}
		if err := a.compare(r, member, c); err != nil {
			return nil, err
		}
		done += len(c.Units)
		vectors, targets, loss = append(vectors, c.Vector), targets+c.Targets, loss+float64(c.Loss)
		report.Members = append(report.Members, Member{member, int(run.Count(span.Ranges)), len(c.Units), trainer.Root(c.Vector)})
	}
	if targets != r.Closed.Targets {
		return nil, mismatch(fmt.Sprintf("round %d, its supervised tokens", r.Closed.Round), targets, r.Closed.Targets)
	}
	if got := math.Float32bits(float32(loss)); got != r.Closed.Loss {
		return nil, mismatch(fmt.Sprintf("round %d, the bits of its loss", r.Closed.Round), got, r.Closed.Loss)
	}
	return vectors, nil
}

func (a *Audit) progress(done, total int) {
	if a.Progress != nil {
		a.Progress(done, total)
	}
}

// contribute computes what a member with these ranges contributes.
func (a *Audit) contribute(ctx context.Context, work *trainer.Trainer, state *checkpoint.State, ranges []run.Range, progress func(int)) (*trainer.Contribution, error) {
	var samples []uint64
	for _, position := range run.Positions(ranges) {
		samples = append(samples, run.Sample(a.Evidence.Spec, position))
	}
	return work.Contribute(ctx, state, samples, progress)
}

// compare holds a recomputed contribution against its member's Commit, in every
// field.
func (a *Audit) compare(r verify.Round, member identity.Address, c *trainer.Contribution) error {
	commit, ok := r.Commits[member]
	if !ok {
		return fail(who(r, member), "it contributed without a Commit")
	}
	got := c.Commit(r.Closed.Round, r.Open.State)
	for _, f := range []struct {
		field     string
		got, want any
	}{
		{"the units of its contribution", got.Units, commit.Units},
		{"its contribution", got.Contribution, commit.Contribution},
		{"its supervised tokens", got.Targets, commit.Targets},
		{"the bits of its loss", got.Loss, commit.Loss},
		{"its rejected units", got.Rejected, commit.Rejected},
		{"its Commit", got, commit},
	} {
		if f.got != f.want {
			return mismatch(who(r, member)+a.firstUnit(commit, c)+", "+f.field, f.got, f.want)
		}
	}
	return nil
}

// firstUnit names the first unit in which a contribution differs from the unit
// hashes that were committed to, if the evidence holds them.
func (a *Audit) firstUnit(commit run.Commit, c *trainer.Contribution) string {
	units, err := a.Evidence.Units(commit.Units)
	if err != nil {
		return "" // it only sharpens the message
	}
	for i, u := range units {
		if i >= len(c.Units) || c.Units[i] != u {
			return fmt.Sprintf(", from unit %d of %d on", i, len(units))
		}
	}
	return ""
}

func who(r verify.Round, member identity.Address) string {
	return fmt.Sprintf("round %d, member %s", r.Closed.Round, member)
}

// explain sorts what went wrong with a member's samples into what is missing,
// what is wrong, and what is neither.
func explain(what string, err error) error {
	var missing *shards.MissingError
	var mismatch *shards.MismatchError
	switch {
	case errors.As(err, &missing):
		return &verify.Missing{What: fmt.Sprintf("%s: block %s of the shards", what, missing.Block), Hint: "allmend shards fetch brings it"}
	case errors.As(err, &mismatch):
		return &verify.Failure{What: what, Err: err}
	}
	return fmt.Errorf("replaying %s: %w", what, err)
}

func fail(what, format string, args ...any) error {
	return &verify.Failure{What: what, Err: fmt.Errorf(format, args...)}
}

func mismatch(what string, got, want any) error {
	return fail(what, "computed again it is %v, signed was %v", got, want)
}
