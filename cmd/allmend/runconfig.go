package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/tokenizer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// runConfig is run.yaml: what a person decides about a run. The rest of its
// Spec follows from the shards. Each key's meaning stands in the example.
type runConfig struct {
	Name         string             `yaml:"name"`
	Model        model.Config       `yaml:"model"`
	InitSeed     uint64             `yaml:"init_seed"`
	DataSeed     int                `yaml:"data_seed"`
	Sequence     int                `yaml:"sequence_length"`
	Batch        int                `yaml:"global_batch"`
	Unit         int                `yaml:"unit_sequences"`
	Goldfish     goldfishConfig     `yaml:"goldfish"`
	Optimizer    optimizerConfig    `yaml:"optimizer"`
	Algorithm    string             `yaml:"algorithm"`
	Codec        string             `yaml:"codec"`
	Profile      string             `yaml:"profile"`
	Rounds       int                `yaml:"rounds"`
	Checkpoint   int                `yaml:"checkpoint_every"`
	MinMembers   int                `yaml:"min_members"`
	MaxMembers   int                `yaml:"max_members"`
	Coordinators []identity.Address `yaml:"coordinators"`
	Members      []identity.Address `yaml:"members"`
}

type goldfishConfig struct {
	K      int    `yaml:"k"`
	H      int    `yaml:"h"`
	Scheme string `yaml:"scheme"`
}

type optimizerConfig struct {
	Name         string `yaml:"name"`
	LearningRate string `yaml:"learning_rate"`
	MinRate      string `yaml:"min_learning_rate"`
	Beta1        string `yaml:"beta1"`
	Beta2        string `yaml:"beta2"`
	Beta3        string `yaml:"beta3"`
	Alpha        string `yaml:"alpha"`
	Epsilon      string `yaml:"epsilon"`
	WeightDecay  string `yaml:"weight_decay"`
	Clip         string `yaml:"clip"`
	Warmup       int    `yaml:"warmup_steps"`
	Decay        int    `yaml:"decay_steps"`
	AlphaWarmup  int    `yaml:"alpha_warmup"`
	Beta3Warmup  int    `yaml:"beta3_warmup"`
}

// exampleTemplate is a run.yaml with every key. Its values are the defaults.
var exampleTemplate = template.Must(template.New("run.yaml").Parse(`# What a run fixes. Decimal fractions are read as written, to the nearest float32.
name: allmend                      # for people; printable ASCII
# 1, 3 or 5 addresses; more than half of them must agree on everything:
coordinators:
{{- range .Coordinators}}
  - "{{.}}"
{{- else}} []
{{- end}}
# The first members; others are admitted later:
members:
{{- range .Members}}
  - "{{.}}"
{{- else}} []
{{- end}}
min_members: 1                     # below this many ready members no round opens
max_members: 16

model:                             # an Apertus transformer, in the names Hugging Face uses
  vocab_size: 0                    # 0: that of the shards' tokenizer
  hidden_size: 128
  intermediate_size: 384
  num_hidden_layers: 4
  num_attention_heads: 4
  num_key_value_heads: 2
  max_position_embeddings: 128     # at least sequence_length
  rope_theta: 10000
  rms_norm_eps: 1e-5
  init_std: 0.02
init_seed: 1                       # draws the initial weights

sequence_length: 128               # tokens of a sample
global_batch: 48                   # samples of a round, over all members
unit_sequences: 4                  # samples an auditor can ask to see replayed; divides global_batch
data_seed: 1                       # orders the samples
rounds: 32                         # after so many closed rounds the run is finished
checkpoint_every: 8                # rounds

goldfish:                          # labels left out of the loss, against memorisation
  k: 50                            # one in k; 0 leaves none out
  h: 13                            # tokens the decision looks at
  scheme: apertus
optimizer:
  name: ademamix
  learning_rate: 0.004
  min_learning_rate: 0.0001        # where the decay ends
  warmup_steps: 5                  # rounds
  decay_steps: 9                   # the last rounds
  beta1: 0.9
  beta2: 0.99
  beta3: 0.99
  alpha: 4
  alpha_warmup: 32
  beta3_warmup: 32
  epsilon: 1e-8
  weight_decay: 0.1
  clip: 1.0                        # global gradient norm

algorithm: sync                    # one gradient step a round
codec: f32                         # of what travels around the ring
profile: exact                     # the same bits on every machine
`))

// exampleConfig returns a run.yaml for the given addresses.
func exampleConfig(coordinators, members []string) (string, error) {
	for _, a := range slices.Concat(coordinators, members) {
		if _, err := identity.ParseAddress(a); err != nil {
			return "", usageError{err}
		}
	}
	var text strings.Builder
	err := exampleTemplate.Execute(&text, map[string][]string{"Coordinators": coordinators, "Members": members})
	return strings.TrimSuffix(text.String(), "\n"), err
}

// defaultRunConfig returns what holds where run.yaml says nothing: the
// example.
func defaultRunConfig() runConfig {
	var config runConfig
	text, err := exampleConfig(nil, nil)
	if err == nil {
		err = parseYAML([]byte(text), &config)
	}
	if err != nil {
		panic("the example of run.yaml is wrong: " + err.Error()) // a test reads it
	}
	return config
}

// initial is a run that is fixed but not yet written.
type initial struct {
	spec      run.Spec
	state     *checkpoint.State
	tokenizer []byte
}

// resolve fixes the run on the shards in a folder.
func (r runConfig) resolve(ctx context.Context, folder string) (initial, error) {
	data, err := shards.OpenFolder(folder)
	if err != nil {
		return initial{}, err
	}
	defer data.Close()
	manifest, sum := data.Manifest()
	raw, words, err := readTokenizer(ctx, data)
	if err != nil {
		return initial{}, err
	}
	if r.Model.VocabSize == 0 {
		r.Model.VocabSize = words.VocabSize()
	}
	spec := r.spec(manifest, sum)
	if err := spec.Validate(); err != nil {
		return initial{}, usageError{err}
	}
	if r.Model.VocabSize != words.VocabSize() {
		return initial{}, usagef("model.vocab_size: %d, but the tokenizer of %s has %d tokens; write 0 to take its number", r.Model.VocabSize, folder, words.VocabSize())
	}
	if r.Model.MaxPositionEmbeddings < r.Sequence {
		return initial{}, usagef("model.max_position_embeddings: %d is less than sequence_length %d", r.Model.MaxPositionEmbeddings, r.Sequence)
	}
	state := checkpoint.New(spec.Model, spec.Model.Init(r.InitSeed))
	spec.InitialState = state.Root()
	return initial{spec, state, raw}, nil
}

// spec returns the Spec without its initial state.
func (r runConfig) spec(manifest shards.Manifest, sum digest.Sum) run.Spec {
	sequences := 0
	if r.Sequence > 0 {
		sequences = int(manifest.Sequences(r.Sequence))
	}
	byAddress := identity.Address.Compare
	slices.SortFunc(r.Coordinators, byAddress)
	slices.SortFunc(r.Members, byAddress)
	return run.Spec{
		Version: 1, Name: r.Name, Model: r.Model,
		Tokenizer: manifest.Tokenizer, Shards: sum, Sequences: sequences,
		DataSeed: r.DataSeed, Sequence: r.Sequence, Batch: r.Batch, Unit: r.Unit,
		Goldfish: run.Goldfish(r.Goldfish), Optimizer: run.Optimizer(r.Optimizer),
		Algorithm: r.Algorithm, Codec: r.Codec, Profile: r.Profile,
		Rounds: r.Rounds, Checkpoint: r.Checkpoint, MinMembers: r.MinMembers, MaxMembers: r.MaxMembers,
		Coordinators: append([]identity.Address{}, r.Coordinators...), Threshold: run.Threshold(len(r.Coordinators)),
		Members: append([]identity.Address{}, r.Members...),
	}
}

// maxTokenizer bounds a tokenizer.json in bytes.
const maxTokenizer = 64 << 20

// readTokenizer returns the tokenizer of a shard folder, and its file's bytes.
func readTokenizer(ctx context.Context, data *shards.Folder) ([]byte, *tokenizer.Tokenizer, error) {
	var raw []byte
	m, _ := data.Manifest()
	for _, f := range m.Files {
		if f.Kind == shards.Tokenizer && f.Bytes > maxTokenizer {
			return nil, nil, fmt.Errorf("tokenizer %q of %d bytes, at most %d are read", f.Path, f.Bytes, maxTokenizer)
		}
	}
	if err := eachBlock(ctx, data, shards.Tokenizer, func(block []byte) bool {
		raw = append(raw, block...)
		return true
	}); err != nil {
		return nil, nil, err
	}
	words, err := tokenizer.Parse(raw)
	return raw, words, err
}

// write writes the run's folder, which is laid out as evidence is: it will
// grow into it. It appears whole or not at all.
func (i initial) write(dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already: a run's folder is never overwritten; choose another with --out", dir)
	}
	return withTemp(dir, func(temp string) error { return i.fill(temp, dir) })
}

func (i initial) fill(temp, dir string) error {
	s := i.spec
	first := filepath.Join(temp, verify.CheckpointDir(0))
	if err := os.MkdirAll(filepath.Dir(first), 0o755); err != nil {
		return err
	}
	if _, _, err := checkpoint.Write(first, i.state, i.tokenizer, checkpoint.Manifest{
		Tokenizer: s.Tokenizer, Shards: s.Shards, Goldfish: s.Goldfish, Profile: s.Profile,
	}); err != nil {
		return err
	}
	b, err := s.Marshal()
	if err != nil {
		return err
	}
	if err := createFile(filepath.Join(temp, verify.SpecFile), b); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	return shards.Publish(temp, dir)
}
