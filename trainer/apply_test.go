package trainer_test

import (
	"math"
	"testing"

	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/run"
)

func tinySpec() run.Spec {
	return run.Spec{
		Version: 1, Name: "test", Sequences: 64, Sequence: 12, Batch: 8, Unit: 2, Rounds: 10, Checkpoint: 2,
		Model: model.Config{
			VocabSize: 32, HiddenSize: 16, IntermediateSize: 24, NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1,
			MaxPositionEmbeddings: 16, RopeTheta: "10000", RMSNormEps: "1e-5", InitStd: "0.02",
		},
		Goldfish: run.Goldfish{K: 5, H: 3, Scheme: "apertus"},
		Optimizer: run.Optimizer{
			Name: "ademamix", LearningRate: "0.001", MinRate: "0", Beta1: "0.9", Beta2: "0.999", Beta3: "0.9999",
			Alpha: "8", Epsilon: "1e-8", WeightDecay: "0.1", Clip: "1000", AlphaWarmup: 100000, Beta3Warmup: 100000,
		},
	}
}

// TestScalarTrajectory follows one weight through three steps; the values are
// those of the reference optimizer in float64 (apple/ml-ademamix).
func TestScalarTrajectory(t *testing.T) {
	spec := tinySpec()
	state := checkpoint.New(spec.Model, make([]float32, spec.Model.Params()))
	state.Params[0] = 1 // the first element of the embedding, which decays
	for i, want := range []float64{0.998899992099, 0.998533756913, 0.997775750131} {
		reduced := make([]float32, len(state.Params))
		reduced[0] = []float32{0.5, -0.25, 1.0}[i] * 7
		if err := trainer.Apply(spec, state, reduced, 7, run.Schedule(spec, uint64(i+1))); err != nil {
			t.Fatal(err)
		}
		if got := float64(state.Params[0]); math.Abs(got-want) > 2e-7 {
			t.Errorf("step %d: θ = %.9f, want %.9f", i+1, got, want)
		}
	}
	if state.Step != 3 {
		t.Errorf("step is %d, want 3", state.Step)
	}
}

// TestClip checks that a gradient ten times the clip norm acts as one at it.
func TestClip(t *testing.T) {
	spec := tinySpec()
	spec.Optimizer.Clip = "0.5"
	var roots [2]string
	for i, factor := range []float32{4, 1} {
		state := checkpoint.New(spec.Model, spec.Model.Init(1))
		reduced := make([]float32, len(state.Params))
		reduced[3], reduced[200] = 0.3*factor, 0.4*factor // norm 0.5 · factor; 4 scales exactly
		if err := trainer.Apply(spec, state, reduced, 1, run.Schedule(spec, 1)); err != nil {
			t.Fatal(err)
		}
		roots[i] = state.Root().String()
	}
	if roots[0] != roots[1] {
		t.Errorf("clipped step gave %s, step at the clip norm %s", roots[0], roots[1])
	}
}

func TestNoDecayOfVectors(t *testing.T) {
	spec := tinySpec()
	state := checkpoint.New(spec.Model, spec.Model.Init(1))
	before := state.Clone()
	if err := trainer.Apply(spec, state, make([]float32, len(state.Params)), 1, run.Schedule(spec, 1)); err != nil {
		t.Fatal(err)
	}
	for _, tensor := range spec.Model.Tensors() {
		changed := false
		for i := tensor.Offset; i < tensor.Offset+tensor.Len; i++ {
			changed = changed || state.Params[i] != before.Params[i]
		}
		if want := len(tensor.Shape) > 1; changed != want {
			t.Errorf("%s changed: %v, want %v", tensor.Name, changed, want)
		}
	}
}

func TestNonFiniteLeavesStateAlone(t *testing.T) {
	spec := tinySpec()
	state := checkpoint.New(spec.Model, spec.Model.Init(1))
	before := state.Root()
	reduced := make([]float32, len(state.Params))
	reduced[5] = float32(math.NaN())
	if err := trainer.Apply(spec, state, reduced, 1, run.Schedule(spec, 1)); err == nil {
		t.Error("a NaN was applied")
	}
	if state.Root() != before {
		t.Error("a refused step changed the state")
	}
}
