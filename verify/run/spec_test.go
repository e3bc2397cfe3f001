package run_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

func addresses(t testing.TB, names ...string) []identity.Address {
	out := []identity.Address{}
	for _, n := range names {
		out = append(out, key(t, n).Address())
	}
	slices.SortFunc(out, identity.Address.Compare)
	return out
}

func testSpec(t testing.TB) run.Spec {
	return run.Spec{
		Version: 1, Name: "golden",
		Model: model.Config{
			VocabSize: 2048, HiddenSize: 128, IntermediateSize: 512, NumHiddenLayers: 4, NumAttentionHeads: 4, NumKeyValueHeads: 2,
			MaxPositionEmbeddings: 128, RopeTheta: "500000", RMSNormEps: "1e-5", InitStd: "0.02",
		},
		Tokenizer: digest.Of([]byte("tokenizer")), Shards: digest.Of([]byte("shards")), Sequences: 1000,
		InitialState: digest.Of([]byte("state 0")), DataSeed: 42, Sequence: 128, Batch: 32, Unit: 4,
		Goldfish: run.Goldfish{K: 50, H: 50, Scheme: "apertus"},
		Optimizer: run.Optimizer{
			Name: "ademamix", LearningRate: "0.00011", MinRate: "0.000011", Beta1: "0.9", Beta2: "0.999", Beta3: "0.9999",
			Alpha: "8", Epsilon: "1e-8", WeightDecay: "0.1", Clip: "0.1", Warmup: 10, Decay: 20, AlphaWarmup: 100000, Beta3Warmup: 100000,
		},
		Algorithm: "sync", Codec: "f32", Profile: "exact", Rounds: 100, Checkpoint: 10, MinMembers: 2, MaxMembers: 8,
		Coordinators: addresses(t, "c1", "c2", "c3"), Threshold: 2, Members: addresses(t, "m1", "m2"),
	}
}

func TestGoldenSpec(t *testing.T) {
	s := testSpec(t)
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.ID()
	if err != nil || id.String() != "49a7bf8b13b38d962053be5c292bef182dafca0d013db86fac6a7ad10388bbdb" {
		t.Errorf("run ID %s, %v", id, err)
	}
	back, err := run.ParseSpec(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := back.Marshal(); err != nil || string(again) != string(b) {
		t.Errorf("%s, %v", again, err)
	}
	nobody := s
	nobody.Members = nil
	if b, err := nobody.Marshal(); err != nil || !strings.Contains(string(b), `"members":[]`) {
		t.Errorf("a spec without members: %s, %v", b, err)
	}
}

func TestSpecRefuses(t *testing.T) {
	for want, edit := range map[string]func(*run.Spec){
		"version":                        func(s *run.Spec) { s.Version = 2 },
		"name: want":                     func(s *run.Spec) { s.Name = "" },
		"printable":                      func(s *run.Spec) { s.Name = "é" },
		`algorithm: "diloco"`:            func(s *run.Spec) { s.Algorithm = "diloco" },
		`codec: "int8"`:                  func(s *run.Spec) { s.Codec = "int8" },
		`profile: "fast"`:                func(s *run.Spec) { s.Profile = "fast" },
		"goldfish.scheme":                func(s *run.Spec) { s.Goldfish.Scheme = "megatron" },
		"optimizer.name":                 func(s *run.Spec) { s.Optimizer.Name = "adam" },
		"data_seed":                      func(s *run.Spec) { s.DataSeed = -1 },
		"global_batch: 0":                func(s *run.Spec) { s.Batch = 0 },
		"does not divide":                func(s *run.Spec) { s.Unit = 5 },
		"fewer than one":                 func(s *run.Spec) { s.Sequences = 31 },
		"min_members: 9":                 func(s *run.Spec) { s.MinMembers = 9 },
		"only 8 units":                   func(s *run.Spec) { s.MaxMembers, s.MinMembers = 256, 9 },
		"threshold: want 2 of 3":         func(s *run.Spec) { s.Threshold = 3 },
		"coordinators: want 1":           func(s *run.Spec) { s.Coordinators = nil },
		"sorted and distinct":            func(s *run.Spec) { slices.Reverse(s.Coordinators) },
		"the zero address":               func(s *run.Spec) { s.Members[0] = identity.Address{} },
		"one key has one role":           func(s *run.Spec) { s.Members = s.Coordinators[:1] },
		"members: 2 are":                 func(s *run.Spec) { s.MaxMembers, s.MinMembers = 1, 1 },
		"optimizer.beta2: 1.5":           func(s *run.Spec) { s.Optimizer.Beta2 = "1.5" },
		"optimizer.clip: \"NaN\"":        func(s *run.Spec) { s.Optimizer.Clip = "NaN" },
		"optimizer.epsilon: \"0x1p-20\"": func(s *run.Spec) { s.Optimizer.Epsilon = "0x1p-20" },
		"schedule of -1":                 func(s *run.Spec) { s.Optimizer.Warmup = -1 },
		"vocab_size":                     func(s *run.Spec) { s.Model.VocabSize = 0 },
	} {
		s := testSpec(t)
		edit(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestParseSpecIsStrict(t *testing.T) {
	b, err := testSpec(t).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for name, bad := range map[string]string{
		"unknown key":   strings.Replace(good, `"codec"`, `"kodec"`, 1),
		"missing key":   strings.Replace(good, `"codec":"f32",`, ``, 1),
		"key twice":     strings.Replace(good, `"codec":"f32",`, `"codec":"f32","codec":"f32",`, 1),
		"case":          strings.Replace(good, `"codec"`, `"Codec"`, 1),
		"invalid":       strings.Replace(good, `"version":1`, `"version":3`, 1),
		"inside":        strings.Replace(good, `"h":50`, `"h":50,"i":1`, 1),
		"escaped digit": strings.Replace(good, `"f32"`, `"f3\u0032"`, 1),
		"newline":       good + "\n",
		"large":         good + strings.Repeat(" ", run.MaxSpecSize),
	} {
		if _, err := run.ParseSpec([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestThreshold(t *testing.T) {
	for n := 1; n <= run.MaxCoordinators; n++ {
		k := run.Threshold(n)
		if 2*k <= n {
			t.Errorf("%d of %d: two quorums need not share a coordinator", k, n)
		}
		if n > 2 && k > n-1 {
			t.Errorf("%d of %d: one dead coordinator stops the run", k, n)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	b, err := testSpec(f).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := run.ParseSpec(b)
		if err != nil {
			return
		}
		if back, err := s.Marshal(); err != nil || string(back) != string(b) {
			t.Errorf("%s is accepted but encodes as %s (%v)", b, back, err)
		}
		run.Sample(s, 0)
		run.Schedule(s, 1)
	})
}
