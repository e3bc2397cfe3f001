package run

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
)

// MaxSpecSize bounds the canonical encoding of a Spec in bytes.
const MaxSpecSize = 64 << 10

// Limits of a run. They bound what a Spec may ask of every peer.
const (
	MaxCoordinators = 9
	MaxMembers      = 256
	MaxSequence     = 1 << 17 // tokens
	MaxBatch        = 1 << 16 // sequences a round
)

// ID names a run: the SHA-256 of its Spec's canonical encoding.
type ID = digest.Sum

// Spec fixes everything that all peers of a run must agree on before its first
// round. Its canonical encoding is never changed: another Spec is another run.
type Spec struct {
	Version      int                `json:"version"` // of this format: 1
	Name         string             `json:"name"`    // for people; 1 to 64 printable ASCII characters
	Model        model.Config       `json:"model"`
	Tokenizer    digest.Sum         `json:"tokenizer"`     // SHA-256 of tokenizer.json
	Shards       digest.Sum         `json:"shards"`        // SHA-256 of the shard manifest
	Sequences    int                `json:"sequences"`     // samples the manifest holds at SequenceLength
	InitialState digest.Sum         `json:"initial_state"` // state root of round 0
	DataSeed     int                `json:"data_seed"`     // orders the samples
	Sequence     int                `json:"sequence_length"`
	Batch        int                `json:"global_batch"`   // sequences a round, over all contributors
	Unit         int                `json:"unit_sequences"` // sequences in one auditable unit; divides Batch
	Goldfish     Goldfish           `json:"goldfish"`
	Optimizer    Optimizer          `json:"optimizer"`
	Algorithm    string             `json:"algorithm"` // "sync"
	Codec        string             `json:"codec"`     // "f32"
	Profile      string             `json:"profile"`   // "exact"
	Rounds       int                `json:"rounds"`    // closed rounds at which the run is finished
	Checkpoint   int                `json:"checkpoint_every"`
	MinMembers   int                `json:"min_members"`
	MaxMembers   int                `json:"max_members"`
	Coordinators []identity.Address `json:"coordinators"` // sorted, distinct
	Threshold    int                `json:"threshold"`    // ⌊n/2⌋ + 1 of the coordinators
	Members      []identity.Address `json:"members"`      // sorted, distinct; may be empty: the rest is admitted later
}

// Goldfish is which labels the loss leaves out (arXiv 2406.10209, and the
// variant of arXiv 2509.14233).
type Goldfish struct {
	K      int    `json:"k"`      // one label in K is left out; 0 leaves none out
	H      int    `json:"h"`      // labels the decision looks at
	Scheme string `json:"scheme"` // "apertus"
}

// Optimizer is AdEMAMix (arXiv 2409.03137) under a warm-up, stable, decay
// schedule. Fractions are decimal strings, read as the nearest float32. Steps
// count closed rounds from 1.
type Optimizer struct {
	Name         string `json:"name"` // "ademamix"
	LearningRate string `json:"learning_rate"`
	MinRate      string `json:"min_learning_rate"`
	Beta1        string `json:"beta1"`
	Beta2        string `json:"beta2"`
	Beta3        string `json:"beta3"`
	Alpha        string `json:"alpha"`
	Epsilon      string `json:"epsilon"`
	WeightDecay  string `json:"weight_decay"`
	Clip         string `json:"clip"`         // global gradient norm
	Warmup       int    `json:"warmup_steps"` // linear from 0
	Decay        int    `json:"decay_steps"`  // 1 − sqrt cooldown over the last steps
	AlphaWarmup  int    `json:"alpha_warmup"` // T_alpha
	Beta3Warmup  int    `json:"beta3_warmup"` // T_beta3
}

// Fraction reads a decimal fraction, such as "0.02" or "1e-8", as the nearest
// float32; it must be finite.
func Fraction(text string) (float32, error) {
	f, err := strconv.ParseFloat(text, 32)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || len(text) > 40 || strings.ContainsFunc(text, notDecimal) {
		return 0, fmt.Errorf("%q is not a finite decimal fraction", text)
	}
	return float32(f), nil
}

func notDecimal(r rune) bool { return !strings.ContainsRune("0123456789.e-", r) }

// ParseSpec reads a Spec from its canonical encoding and validates it.
func ParseSpec(b []byte) (Spec, error) {
	var s Spec
	if err := canonical.Unmarshal(b, &s, MaxSpecSize); err != nil {
		return Spec{}, fmt.Errorf("run spec: %w", err)
	}
	if err := s.Validate(); err != nil {
		return Spec{}, fmt.Errorf("run spec: %w", err)
	}
	return s, nil
}

// Marshal returns the canonical encoding of s.
func (s Spec) Marshal() ([]byte, error) {
	if s.Members == nil {
		s.Members = []identity.Address{}
	}
	return canonical.Marshal(s)
}

// ID returns the name of the run that s describes.
func (s Spec) ID() (ID, error) {
	b, err := s.Marshal()
	return digest.Of(b), err
}

// Threshold returns k = ⌊n/2⌋ + 1: the smallest number of n coordinators of
// which two always share one. A larger one would let one dead coordinator stop
// the run.
func Threshold(n int) int { return n/2 + 1 }

// Validate reports the first thing that is wrong with s.
func (s Spec) Validate() error {
	return errors.Join(s.validateNames(), s.validateSizes(), s.validatePeers(), s.Optimizer.validate(), s.Model.Validate())
}

func (s Spec) validateNames() error {
	if s.Version != 1 {
		return fmt.Errorf("version: %d is unknown; this build reads version 1", s.Version)
	}
	if len(s.Name) < 1 || len(s.Name) > 64 {
		return fmt.Errorf("name: want 1 to 64 characters, got %d", len(s.Name))
	}
	for _, r := range s.Name {
		if r < ' ' || r > '~' {
			return fmt.Errorf("name: %q is not printable ASCII", r)
		}
	}
	for _, c := range []struct{ key, got, want string }{
		{"algorithm", s.Algorithm, "sync"},
		{"codec", s.Codec, "f32"},
		{"profile", s.Profile, "exact"},
		{"goldfish.scheme", s.Goldfish.Scheme, "apertus"},
		{"optimizer.name", s.Optimizer.Name, "ademamix"},
	} {
		if c.got != c.want {
			return fmt.Errorf("%s: %q is not available; this build has %q", c.key, c.got, c.want)
		}
	}
	return nil
}

func (s Spec) validateSizes() error {
	for _, c := range []struct {
		key          string
		got, lo, max int
	}{
		{"data_seed", s.DataSeed, 0, 1<<53 - 1},
		{"sequences", s.Sequences, 1, 1<<53 - 1},
		{"sequence_length", s.Sequence, 2, MaxSequence},
		{"global_batch", s.Batch, 1, MaxBatch},
		{"unit_sequences", s.Unit, 1, s.Batch},
		{"goldfish.k", s.Goldfish.K, 0, 1 << 20},
		{"goldfish.h", s.Goldfish.H, 1, 1 << 10},
		{"rounds", s.Rounds, 1, 1 << 40},
		{"checkpoint_every", s.Checkpoint, 1, 1 << 40},
		{"max_members", s.MaxMembers, 1, MaxMembers},
		{"min_members", s.MinMembers, 1, s.MaxMembers},
	} {
		if c.got < c.lo || c.got > c.max {
			return fmt.Errorf("%s: %d is outside %d … %d", c.key, c.got, c.lo, c.max)
		}
	}
	if s.Batch%s.Unit != 0 {
		return fmt.Errorf("unit_sequences: %d does not divide global_batch %d", s.Unit, s.Batch)
	}
	if s.MinMembers > s.Batch/s.Unit {
		return fmt.Errorf("min_members: %d, but a round has only %d units to deal out", s.MinMembers, s.Batch/s.Unit)
	}
	if s.Sequences < s.Batch {
		return fmt.Errorf("sequences: the shards hold %d samples, fewer than one global_batch of %d", s.Sequences, s.Batch)
	}
	return nil
}

func (s Spec) validatePeers() error {
	n := len(s.Coordinators)
	if n < 1 || n > MaxCoordinators {
		return fmt.Errorf("coordinators: want 1 to %d, got %d", MaxCoordinators, n)
	}
	if s.Threshold != Threshold(n) {
		return fmt.Errorf("threshold: want %d of %d coordinators, got %d", Threshold(n), n, s.Threshold)
	}
	if len(s.Members) > s.MaxMembers {
		return fmt.Errorf("members: %d are listed, max_members is %d", len(s.Members), s.MaxMembers)
	}
	for _, list := range [][]identity.Address{s.Coordinators, s.Members} {
		for i, a := range list {
			if a.IsZero() {
				return errors.New("the zero address is nobody's")
			}
			if i > 0 && list[i-1].Compare(a) >= 0 {
				return fmt.Errorf("%s: addresses must be sorted and distinct", a)
			}
		}
	}
	for _, a := range s.Members {
		if slices.Contains(s.Coordinators, a) {
			return fmt.Errorf("%s is listed as coordinator and as member; one key has one role", a)
		}
	}
	return nil
}

func (o Optimizer) validate() error {
	for _, c := range []struct {
		key, text string
		lo, hi    float32
	}{
		{"learning_rate", o.LearningRate, 0, 1}, {"min_learning_rate", o.MinRate, 0, 1},
		{"beta1", o.Beta1, 0, 0.999999}, {"beta2", o.Beta2, 0, 0.999999}, {"beta3", o.Beta3, 0, 0.9999999},
		{"alpha", o.Alpha, 0, 1000}, {"epsilon", o.Epsilon, 1e-30, 1},
		{"weight_decay", o.WeightDecay, 0, 10}, {"clip", o.Clip, 1e-6, 1e6},
	} {
		f, err := Fraction(c.text)
		if err != nil {
			return fmt.Errorf("optimizer.%s: %w", c.key, err)
		}
		if f < c.lo || f > c.hi {
			return fmt.Errorf("optimizer.%s: %s is outside %v … %v", c.key, c.text, c.lo, c.hi)
		}
	}
	for _, n := range []int{o.Warmup, o.Decay, o.AlphaWarmup, o.Beta3Warmup} {
		if n < 0 || n > 1<<40 {
			return fmt.Errorf("optimizer: a schedule of %d steps", n)
		}
	}
	return nil
}
