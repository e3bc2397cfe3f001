package testrun

import (
	"context"
	"slices"

	"github.com/allmend-network/allmend/allreduce"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// round trains and closes one round.
func (b *builder) round(ctx context.Context, r uint64) error {
	root := b.state.Root()
	backwards := slices.Clone(b.Members) // who was left out speaks first: nobody would wait for it
	slices.Reverse(backwards)
	if err := b.all(backwards, run.Ready{Round: r, State: root}); err != nil {
		return err
	}
	vectors, err := b.commit(ctx, r, root)
	if err != nil {
		return err
	}
	attempt := uint64(1)
	if r == faulty {
		if err := b.breakRing(r, root); err != nil {
			return err
		}
		attempt++
	}
	var summands [][]float32
	for _, a := range b.machine.View().Contributors {
		summands = append(summands, vectors[a])
	}
	sum := allreduce.Dumb(summands)
	if r == b.script.Disorder {
		slices.Reverse(summands)
		sum = allreduce.Dumb(summands)
	}
	if err := b.reduce(r, attempt, sum); err != nil {
		return err
	}
	return b.step(r, sum)
}

// commit computes and commits to every member's contribution.
func (b *builder) commit(ctx context.Context, r uint64, root digest.Sum) (map[identity.Address][]float32, error) {
	vectors := map[identity.Address][]float32{}
	view := b.machine.View()
	for i, key := range b.Members {
		var samples []uint64
		for _, p := range run.Positions(view.Spans[i].Ranges) {
			if r == b.script.Liar && i == len(b.Members)-1 {
				p++
			}
			samples = append(samples, run.Sample(b.Spec, p))
		}
		c, err := b.work.Contribute(ctx, b.state, samples, nil)
		if err != nil {
			return nil, err
		}
		commit := c.Commit(r, root)
		if err := b.say(key, commit); err != nil {
			return nil, err
		}
		vectors[key.Address()] = c.Vector
		if b.covers(r) {
			if err := b.writer.Vector(commit.Contribution, trainer.Bytes(c.Vector)); err != nil {
				return nil, err
			}
			if err := b.writer.Units(commit.Units, c.Units); err != nil {
				return nil, err
			}
		}
	}
	return vectors, nil
}

// covers reports whether the evidence keeps a round's vectors.
func (b *builder) covers(r uint64) bool { return b.script.Everything || r > rounds-cadence }

// breakRing lets the round's first ring lose its last member.
func (b *builder) breakRing(r uint64, root digest.Sum) error {
	lost := b.Members[len(b.Members)-1].Address()
	left := b.Members[:len(b.Members)-1]
	if err := b.say(left[0], run.Fault{Round: r, Attempt: 1, Accused: lost, Phase: "reduce", Step: 1}); err != nil {
		return err
	}
	if err := b.all(left, run.Ready{Round: r, Attempt: 2, State: root}); err != nil {
		return err
	}
	return b.say(b.Coordinators[0], run.Expire{Round: r, Attempt: 2, Size: b.machine.View().LogSize, Accused: lost, Reason: "it does not answer"})
}

// reduce has every contributor report the same sum.
func (b *builder) reduce(r, attempt uint64, sum []float32) error {
	if b.covers(r) {
		if err := b.writer.Vector(trainer.Root(sum), trainer.Bytes(sum)); err != nil {
			return err
		}
	}
	contributors := b.machine.View().Contributors
	result := run.Result{
		Round: r, Attempt: attempt, Reduced: trainer.Root(sum),
		Contributors: run.ContributorsDigest(r, attempt, contributors),
	}
	for _, key := range b.Members {
		if slices.Contains(contributors, key.Address()) {
			if err := b.say(key, result); err != nil {
				return err
			}
		}
	}
	return nil
}

// step applies the sum and, when it is due, makes and signs a checkpoint.
func (b *builder) step(r uint64, sum []float32) error {
	view := b.machine.View()
	var targets uint64
	for _, c := range view.Commits {
		if slices.Contains(view.Contributors, c.Member) {
			targets += c.Commit.Targets
		}
	}
	scalars := run.Schedule(b.Spec, view.Step)
	if r == b.script.Rate {
		scalars.LearningRate *= 2
	}
	if err := trainer.Apply(b.Spec, b.state, sum, targets, scalars); err != nil {
		return err
	}
	last := view.Last
	if last.Step%cadence != 0 {
		return nil
	}
	if err := b.save(r, checkpoint.Manifest{
		Run: b.ID, Round: r, Parent: b.parent, Tokenizer: b.Spec.Tokenizer, Shards: b.Spec.Shards,
		Sequences: run.Count(view.Ledger.Consumed) + run.Count(view.Ledger.Rejected),
		Goldfish:  b.Spec.Goldfish, Profile: b.Spec.Profile, LogSize: last.LogSize, LogRoot: last.LogRoot,
	}); err != nil {
		return err
	}
	return b.signCheckpoint(r)
}

// signCheckpoint has the members and the coordinators sign, in the log and
// in the folder.
func (b *builder) signCheckpoint(r uint64) error {
	s := run.Checkpoint{Round: r, Manifest: b.parent, State: b.state.Root()}
	signatures := checkpoint.Signatures{Checkpoint: s}
	for _, list := range []struct {
		keys []identity.Key
		to   *[]identity.Signature
	}{{b.Members, &signatures.Members}, {b.Coordinators, &signatures.Coordinators}} {
		for _, key := range list.keys {
			signature, err := key.Sign(b.ID, s)
			if err != nil {
				return err
			}
			*list.to = append(*list.to, signature)
			if err := b.say(key, s); err != nil {
				return err
			}
		}
	}
	return checkpoint.WriteSignatures(b.kept[r], signatures)
}

// rewind takes the run back to its last signed checkpoint.
func (b *builder) rewind() error {
	signed := b.machine.View().Signed
	to := signed[len(signed)-1]
	back := run.Rewind{Number: 1, Round: to.Round, Manifest: to.Manifest}
	if err := b.all(b.Coordinators[:b.Spec.Threshold], back); err != nil {
		return err
	}
	var err error
	b.state, _, _, err = checkpoint.Read(b.kept[to.Round])
	return err
}
