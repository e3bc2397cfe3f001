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

func TestSmoke(t *testing.T) {
	spec := testSpec(1, 2)
	m, err := state.New(spec)
	if err != nil {
		t.Fatal(err)
	}
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
		for _, e := range entries {
			t.Logf("%s", e.Bytes)
		}
	}
	say("c1", run.Accept{Spec: m.ID()})
	root := spec.InitialState
	for r := uint64(1); r <= 3; r++ {
		say("m1", run.Ready{Round: r, State: root})
		say("m2", run.Ready{Round: r, State: root})
		for _, n := range []string{"m1", "m2"} {
			say(n, run.Commit{Round: r, State: root, Contribution: digest.Of([]byte(n)), Units: digest.Of([]byte(n)), Targets: 10})
		}
		v := m.View()
		for _, n := range []string{"m1", "m2"} {
			say(n, run.Result{Round: r, Attempt: 1, Contributors: run.ContributorsDigest(r, 1, v.Contributors), Reduced: digest.Of([]byte("x"))})
		}
		root = digest.Of(root[:])
	}
	for _, n := range []string{"m1", "m2"} {
		say(n, run.Checkpoint{Round: 3, Manifest: digest.Of([]byte("manifest")), State: root})
	}
	say("c1", run.Checkpoint{Round: 3, Manifest: digest.Of([]byte("manifest")), State: root})
	if v := m.View(); v.Status != state.Finished {
		t.Errorf("status %s", v.Status)
	}
	b, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Restore(spec, b); err != nil {
		t.Fatal(err)
	}
}
