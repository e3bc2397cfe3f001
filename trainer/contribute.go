package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/allmend-network/allmend/allreduce/codec"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/goldfish"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// Source yields the samples of the run's shards.
type Source interface {
	// Sequence returns the T+1 tokens of a sample; T is the run's sequence
	// length.
	Sequence(ctx context.Context, sample uint64) ([]int32, error)
}

// Trainer does one member's arithmetic of one run. It serves one goroutine at
// a time.
type Trainer struct {
	spec   run.Spec
	model  *model.Model
	source Source
}

// New returns the trainer of a run over a device and its samples.
func New(spec run.Spec, device model.Device, source Source) (*Trainer, error) {
	m, err := model.New(spec.Model, device)
	if err != nil {
		return nil, err
	}
	return &Trainer{spec, m, source}, nil
}

// Contribution is what a member computed in a round.
type Contribution struct {
	Vector   []float32    // unscaled sum of token-loss gradients, in layout order
	Units    []digest.Sum // SHA-256 of the running gradient's bytes after each unit
	Rejected []int        // units that were not finite and added nothing
	Targets  uint64       // supervised tokens
	Loss     float32      // sum of their losses
}

// Contribute runs the samples forward and backward from state, unit by unit in
// the given order, and calls progress, if not nil, after each with the number
// of units done. The number of samples is a multiple of the run's unit.
func (t *Trainer) Contribute(ctx context.Context, state *checkpoint.State, samples []uint64, progress func(units int)) (*Contribution, error) {
	if err := t.model.SetParams(state.Params); err != nil {
		return nil, err
	}
	t.model.Zero()
	c := &Contribution{Vector: make([]float32, len(state.Params))}
	before := make([]float32, len(state.Params))
	for unit := range slices.Chunk(samples, t.spec.Unit) {
		copy(before, c.Vector)
		err := t.unit(ctx, unit, c)
		var infinite *model.NonFiniteError
		if errors.As(err, &infinite) {
			c.Rejected = append(c.Rejected, len(c.Units))
			copy(c.Vector, before)
			err = t.model.SetGradient(before)
		}
		if err != nil {
			return nil, fmt.Errorf("unit %d: %w", len(c.Units), err)
		}
		c.Units = append(c.Units, digest.Of(Bytes(c.Vector)))
		if progress != nil {
			progress(len(c.Units))
		}
	}
	return c, nil
}

// unit adds one unit to c; if it fails c.Vector is no longer valid.
func (t *Trainer) unit(ctx context.Context, samples []uint64, c *Contribution) error {
	sequences, err := t.sequences(ctx, samples)
	if err != nil {
		return err
	}
	losses, err := t.model.Accumulate(sequences)
	if err != nil {
		return err
	}
	if err := t.model.Gradient(c.Vector); err != nil {
		return err
	}
	for i, loss := range losses {
		c.Loss += loss
		c.Targets += uint64(sequences[i].Targets())
	}
	return nil
}

// sequences reads samples and masks them as the run says.
func (t *Trainer) sequences(ctx context.Context, samples []uint64) ([]model.Sequence, error) {
	sequences := make([]model.Sequence, len(samples))
	for i, sample := range samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tokens, err := t.source.Sequence(ctx, sample)
		if err != nil {
			return nil, fmt.Errorf("sample %d: %w", sample, err)
		}
		if len(tokens) != t.spec.Sequence+1 {
			return nil, fmt.Errorf("sample %d has %d tokens, want %d", sample, len(tokens), t.spec.Sequence+1)
		}
		mask := goldfish.Mask(tokens[1:], t.spec.Goldfish.K, t.spec.Goldfish.H)
		sequences[i] = model.NewSequence(tokens, mask)
	}
	return sequences, nil
}

// Bytes returns the bytes of a vector as they are hashed, stored and sent.
func Bytes(vector []float32) []byte {
	b := make([]byte, codec.F32{}.Size(len(vector)))
	codec.F32{}.Encode(b, vector)
	return b
}

// Vector is the inverse of [Bytes] for a vector of n elements.
func Vector(b []byte, n int) ([]float32, error) {
	if len(b) != 4*n {
		return nil, fmt.Errorf("vector of %d bytes, want %d", len(b), 4*n)
	}
	v := make([]float32, n)
	return v, codec.F32{}.Decode(v, b)
}

// Root is the Merkle root over 1 MiB blocks of a vector's bytes: the name a
// contribution or a reduced vector goes by.
func Root(vector []float32) digest.Sum { return digest.BlockRoot(Bytes(vector)) }

// UnitsRoot is the Merkle root over the running gradient's hashes.
func UnitsRoot(units []digest.Sum) digest.Sum {
	leaves := make([]digest.Sum, len(units))
	for i, u := range units {
		leaves[i] = digest.Leaf(u[:])
	}
	return digest.Root(leaves)
}

// Commit returns the statement that binds its signer to c.
func (c *Contribution) Commit(round uint64, state digest.Sum) run.Commit {
	return run.Commit{
		Round: round, State: state, Contribution: Root(c.Vector), Units: UnitsRoot(c.Units),
		Targets: c.Targets, Loss: math.Float32bits(c.Loss), Rejected: run.FormatUnits(c.Rejected),
	}
}
