package testrun

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

const (
	rounds    = 6
	cadence   = 2
	faulty    = 4 // round whose first ring breaks
	peers     = 3 // of each role
	tokenizer = `{"version":"1.0","model":{"type":"BPE"}}`
)

// Script is what is not as it should be in a run: a round each, 0 for none.
type Script struct {
	Everything bool   // the evidence covers the run from round 1, not only what members keep
	Liar       uint64 // the last member computes samples that are not its own
	Disorder   uint64 // all members agree on a sum in another order
	Rate       uint64 // all members step at twice the learning rate
	Rewind     uint64 // the coordinators take it back, to the checkpoint before
}

// Run is a finished run.
type Run struct {
	ID           run.ID
	Spec         run.Spec
	Evidence     string // folder
	Shards       string // folder
	Coordinators []identity.Key
	Members      []identity.Key // sorted by address, as Coordinators
	Size         uint64         // of the log
	Root         digest.Sum
}

// Key returns the key of a name, the same in every test.
func Key(name string) identity.Key {
	k, err := identity.New(sha256.Sum256([]byte("allmend test run " + name)))
	if err != nil {
		panic("testrun: " + err.Error()) // one name in 2^128
	}
	return k
}

// keys returns the keys of a role and their addresses, by address.
func keys(role string) ([]identity.Key, []identity.Address) {
	var list []identity.Key
	for i := range peers {
		list = append(list, Key(fmt.Sprintf("%s %d", role, i+1)))
	}
	slices.SortFunc(list, func(a, b identity.Key) int { return a.Address().Compare(b.Address()) })
	var addresses []identity.Address
	for _, k := range list {
		addresses = append(addresses, k.Address())
	}
	return list, addresses
}

// Make trains a run and writes its shards and its evidence into dir.
func Make(ctx context.Context, dir string, script Script) (*Run, error) {
	r := &Run{Evidence: filepath.Join(dir, "evidence"), Shards: filepath.Join(dir, "shards")}
	manifest, err := writeShards(r.Shards)
	if err != nil {
		return nil, err
	}
	start, err := r.constitute(manifest)
	if err != nil {
		return nil, err
	}
	b, err := newBuilder(r, script, start)
	if err != nil {
		return nil, err
	}
	if err := b.train(ctx); err != nil {
		return nil, err
	}
	r.Size, r.Root = b.machine.Log()
	return r, b.finish()
}

// constitute makes the Spec, and returns the state that the run starts from.
func (r *Run) constitute(m manifest) (*checkpoint.State, error) {
	s := run.Spec{
		Version: 1, Name: "test run", Sequence: 12, Batch: 12, Unit: 2, Rounds: rounds, Checkpoint: cadence,
		Model: model.Config{
			VocabSize: 32, HiddenSize: 16, IntermediateSize: 24, NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1,
			MaxPositionEmbeddings: 16, RopeTheta: "10000", RMSNormEps: "1e-5", InitStd: "0.02",
		},
		Tokenizer: digest.Of([]byte(tokenizer)), Shards: m.digest, DataSeed: 11,
		Goldfish: run.Goldfish{K: 5, H: 3, Scheme: "apertus"},
		Optimizer: run.Optimizer{
			Name: "ademamix", LearningRate: "0.01", MinRate: "0.001", Beta1: "0.9", Beta2: "0.999", Beta3: "0.9999",
			Alpha: "8", Epsilon: "1e-8", WeightDecay: "0.1", Clip: "1", Warmup: 2, Decay: 2, AlphaWarmup: 10, Beta3Warmup: 10,
		},
		Algorithm: "sync", Codec: "f32", Profile: "exact", MinMembers: 2, MaxMembers: 4, Threshold: run.Threshold(peers),
	}
	s.Sequences = int(m.Sequences(s.Sequence))
	r.Coordinators, s.Coordinators = keys("coordinator")
	r.Members, s.Members = keys("member")
	start := checkpoint.New(s.Model, s.Model.Init(7))
	s.InitialState = start.Root()
	if err := s.Validate(); err != nil {
		return nil, err
	}
	var err error
	r.Spec = s
	r.ID, err = s.ID()
	return start, err
}

// builder is the whole swarm.
type builder struct {
	*Run
	script  Script
	machine *state.Machine
	records [][]byte
	state   *checkpoint.State
	work    *trainer.Trainer
	writer  *verify.Writer
	parent  digest.Sum        // manifest of the checkpoint before
	kept    map[uint64]string // checkpoint folders by round
	temp    string            // where they are
}

func newBuilder(r *Run, script Script, start *checkpoint.State) (*builder, error) {
	b := &builder{Run: r, script: script, state: start, kept: map[uint64]string{}}
	var err error
	if b.machine, err = state.New(r.Spec); err != nil {
		return nil, err
	}
	if b.writer, err = verify.NewWriter(r.Evidence); err != nil {
		return nil, err
	}
	samples, err := openShards(r.Shards, r.Spec.Sequence)
	if err != nil {
		return nil, err
	}
	if b.work, err = trainer.New(r.Spec, cpu.New(1), samples); err != nil {
		return nil, err
	}
	if b.temp, err = os.MkdirTemp(filepath.Dir(r.Evidence), "checkpoints-*"); err != nil {
		return nil, err
	}
	s := r.Spec
	return b, b.save(0, checkpoint.Manifest{Tokenizer: s.Tokenizer, Shards: s.Shards, Goldfish: s.Goldfish, Profile: s.Profile})
}

// save writes a checkpoint of the state as it is.
func (b *builder) save(round uint64, m checkpoint.Manifest) error {
	dir := filepath.Join(b.temp, fmt.Sprint(round))
	sum, _, err := checkpoint.Write(dir, b.state, []byte(tokenizer), m)
	if round > 0 {
		b.parent = sum
	}
	b.kept[round] = dir
	return err
}

// say has a statement signed and applied.
func (b *builder) say(key identity.Key, s run.Statement) error {
	signed, err := run.Sign(b.ID, key, s)
	if err != nil {
		return err
	}
	entries, err := b.machine.Apply(signed)
	if err != nil {
		return fmt.Errorf("%s by %s: %w", s.Kind(), key.Address(), err)
	}
	for _, e := range entries {
		b.records = append(b.records, e.Bytes)
	}
	return nil
}

// all has the same statement signed by several.
func (b *builder) all(keys []identity.Key, s run.Statement) error {
	for _, k := range keys {
		if err := b.say(k, s); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) train(ctx context.Context) error {
	if err := b.all(b.Coordinators, run.Accept{Spec: b.ID}); err != nil {
		return err
	}
	for r := uint64(1); b.machine.View().Status == state.Running; r++ {
		if err := b.round(ctx, r); err != nil {
			return fmt.Errorf("round %d: %w", r, err)
		}
		if r == b.script.Rewind {
			if err := b.rewind(); err != nil {
				return err
			}
		}
	}
	if v := b.machine.View(); v.Status != state.Finished {
		return fmt.Errorf("the run is %s, not finished", v.Status)
	}
	return nil
}
