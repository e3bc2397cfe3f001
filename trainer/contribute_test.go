package trainer_test

import (
	"context"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/allreduce"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// counting is a Source of made-up samples.
type counting struct{ spec run.Spec }

func (c counting) Sequence(_ context.Context, sample uint64) ([]int32, error) {
	tokens := make([]int32, c.spec.Sequence+1)
	for i := range tokens {
		tokens[i] = int32((sample*7 + uint64(i*i)) % uint64(c.spec.Model.VocabSize))
	}
	return tokens, nil
}

func newTrainer(t *testing.T, spec run.Spec, workers int) *trainer.Trainer {
	t.Helper()
	tr, err := trainer.New(spec, cpu.New(workers), counting{spec})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func contribute(t *testing.T, tr *trainer.Trainer, state *checkpoint.State, samples []uint64) *trainer.Contribution {
	t.Helper()
	c, err := tr.Contribute(t.Context(), state, samples, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTraining runs ten rounds of three members, adding by the dumb sum: the
// loss falls, and the state after them has the same bits with one worker as
// with two, and golden ones.
func TestTraining(t *testing.T) {
	const golden = "fd75fac907c20fbd71a2e0ecfcba68064b17845945c5462969b6409ea52d3e34"
	spec := tinySpec()
	spec.Optimizer.LearningRate = "0.01"
	spec.Optimizer.AlphaWarmup, spec.Optimizer.Beta3Warmup = 10, 10
	var roots []digest.Sum
	for workers := 1; workers <= 2; workers++ {
		tr := newTrainer(t, spec, workers)
		state := checkpoint.New(spec.Model, spec.Model.Init(1))
		var first, last float32
		for step := uint64(1); step <= 10; step++ {
			var vectors [][]float32
			var targets uint64
			var loss float32
			for member := range uint64(3) {
				c := contribute(t, tr, state, []uint64{4 * member, 4*member + 1, 4*member + 2, 4*member + 3})
				vectors, targets, loss = append(vectors, c.Vector), targets+c.Targets, loss+c.Loss
			}
			if err := trainer.Apply(spec, state, allreduce.Dumb(vectors), targets, run.Schedule(spec, step)); err != nil {
				t.Fatal(err)
			}
			if step == 1 {
				first = loss / float32(targets)
			}
			last = loss / float32(targets)
		}
		if last > first-0.3 {
			t.Errorf("loss went from %.3f to %.3f", first, last)
		}
		roots = append(roots, state.Root())
	}
	if roots[0] != roots[1] || roots[0].String() != golden {
		t.Errorf("state after ten rounds is %s with one worker, %s with two, want %s", roots[0], roots[1], golden)
	}
}

// TestResume checks that ten rounds equal five, a checkpoint on disk, and five
// more by another process with other workers.
func TestResume(t *testing.T) {
	spec := tinySpec()
	step := func(tr *trainer.Trainer, state *checkpoint.State) {
		c := contribute(t, tr, state, []uint64{state.Step, state.Step + 1})
		if err := trainer.Apply(spec, state, c.Vector, c.Targets, run.Schedule(spec, state.Step+1)); err != nil {
			t.Fatal(err)
		}
	}
	whole := checkpoint.New(spec.Model, spec.Model.Init(1))
	tr := newTrainer(t, spec, 1)
	for range 10 {
		step(tr, whole)
	}
	half := checkpoint.New(spec.Model, spec.Model.Init(1))
	for range 5 {
		step(tr, half)
	}
	dir := t.TempDir() + "/checkpoint"
	tokenizer := []byte("{}")
	if _, _, err := checkpoint.Write(dir, half, tokenizer, checkpoint.Manifest{Tokenizer: digest.Of(tokenizer)}); err != nil {
		t.Fatal(err)
	}
	back, _, _, err := checkpoint.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	other := newTrainer(t, spec, 2)
	for range 5 {
		step(other, back)
	}
	if whole.Root() != back.Root() {
		t.Errorf("resumed training ended at %s, uninterrupted at %s", back.Root(), whole.Root())
	}
}

// TestUnits checks that the units' hashes are those of contributions that end
// there: what lets one unit be challenged alone.
func TestUnits(t *testing.T) {
	spec := tinySpec()
	tr := newTrainer(t, spec, 1)
	state := checkpoint.New(spec.Model, spec.Model.Init(1))
	samples := []uint64{5, 9, 2, 33, 4, 17}
	all := contribute(t, tr, state, samples)
	for n := spec.Unit; n <= len(samples); n += spec.Unit {
		part := contribute(t, tr, state, samples[:n])
		if u := n/spec.Unit - 1; digest.Of(trainer.Bytes(part.Vector)) != all.Units[u] {
			t.Errorf("unit %d has another running gradient than a contribution that ends there", u)
		}
	}
	if len(all.Rejected) != 0 || all.Targets == 0 || !slices.Equal(all.Units, contribute(t, tr, state, samples).Units) {
		t.Errorf("contribution %+v", all.Commit(1, digest.Sum{}))
	}
}

// TestRejectedUnit makes the loss of some samples infinite by enormous, but
// finite, weights: those units are declared and add nothing.
func TestRejectedUnit(t *testing.T) {
	spec := tinySpec()
	tr := newTrainer(t, spec, 1)
	state := checkpoint.New(spec.Model, spec.Model.Init(1))
	head := state.Params[len(state.Params)-spec.Model.HiddenSize:] // of the last token in the vocabulary
	for i := range head {
		head[i] = 3e38
	}
	c := contribute(t, tr, state, []uint64{0, 1, 2, 3})
	if len(c.Rejected) == 0 {
		t.Fatal("no unit was rejected")
	}
	if got := c.Commit(1, digest.Sum{}).Rejected; got == "" {
		t.Error("the commit does not declare the rejected units")
	}
	for _, g := range c.Vector {
		if g-g != 0 {
			t.Fatal("a rejected unit left a number that is not finite")
		}
	}
}
