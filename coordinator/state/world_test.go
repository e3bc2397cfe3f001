package state_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// key returns the key of a name: the same in every run of the tests.
func key(name string) identity.Key {
	k, err := identity.New(sha256.Sum256([]byte("allmend test key " + name)))
	if err != nil {
		panic(err)
	}
	return k
}

// addresses returns the sorted addresses of names.
func addresses(names ...string) []identity.Address {
	out := []identity.Address{}
	for _, n := range names {
		out = append(out, key(n).Address())
	}
	slices.SortFunc(out, identity.Address.Compare)
	return out
}

// digits returns prefix followed by 1 … n.
func digits(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i+1)
	}
	return out
}

func testSpec(coordinators, members int) run.Spec {
	return run.Spec{
		Version: 1, Name: "test",
		Model: model.Config{
			VocabSize: 64, HiddenSize: 8, IntermediateSize: 16, NumHiddenLayers: 1, NumAttentionHeads: 2, NumKeyValueHeads: 1,
			MaxPositionEmbeddings: 16, RopeTheta: "10000", RMSNormEps: "1e-5", InitStd: "0.02",
		},
		Tokenizer: digest.Of([]byte("tokenizer")), Shards: digest.Of([]byte("shards")), Sequences: 100,
		InitialState: digest.Of([]byte("state 0")), DataSeed: 7, Sequence: 16, Batch: 12, Unit: 2,
		Goldfish: run.Goldfish{K: 50, H: 50, Scheme: "apertus"},
		Optimizer: run.Optimizer{
			Name: "ademamix", LearningRate: "0.001", MinRate: "0.0001", Beta1: "0.9", Beta2: "0.999", Beta3: "0.9999",
			Alpha: "8", Epsilon: "1e-8", WeightDecay: "0.1", Clip: "0.1", Warmup: 2, Decay: 2, AlphaWarmup: 6, Beta3Warmup: 6,
		},
		Algorithm: "sync", Codec: "f32", Profile: "exact", Rounds: 3, Checkpoint: 2, MinMembers: 1, MaxMembers: 8,
		Coordinators: addresses(digits("c", coordinators)...), Threshold: run.Threshold(coordinators),
		Members: addresses(digits("m", members)...),
	}
}

// play applies a run of one round with a checkpoint and returns what it
// appended.
func play(t testing.TB, spec run.Spec, m *state.Machine) []state.Entry {
	t.Helper()
	var log []state.Entry
	say := func(who string, s run.Statement) {
		t.Helper()
		signed, err := run.Sign(m.ID(), key(who), s)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := m.Apply(signed)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, entries...)
	}
	for i := range spec.Coordinators {
		say(fmt.Sprintf("c%d", i+1), run.Accept{Spec: m.ID()})
	}
	members := digits("m", len(spec.Members))
	for _, n := range members {
		say(n, run.Ready{Round: 1, State: spec.InitialState})
	}
	for _, n := range members {
		say(n, run.Commit{Round: 1, State: spec.InitialState, Contribution: digest.Of([]byte(n)), Targets: 5, Rejected: "1"})
	}
	ring := run.ContributorsDigest(1, 1, m.View().Contributors)
	for _, n := range members {
		say(n, run.Result{Round: 1, Attempt: 1, Contributors: ring, Reduced: digest.Of([]byte("sum"))})
	}
	for _, n := range members {
		say(n, run.Checkpoint{Round: 1, Manifest: digest.Of([]byte("manifest")), State: digest.Of([]byte("state 1"))})
	}
	return log
}
