// Package storetest is the conformance suite of shards.Store, and the smallest
// store that passes it.
//
// Every store a shard's blocks can come from runs it: memory, a folder of
// blocks, a shard folder, and the exchange between peers.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

// Memory is a Store in memory. The zero value is ready to use.
type Memory struct {
	mu     sync.Mutex
	blocks map[digest.Sum][]byte // guarded by mu
}

// Size implements [shards.Blocks].
func (m *Memory) Size(sum digest.Sum) (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blocks[sum]
	return len(b), ok
}

// Get implements [shards.Blocks].
func (m *Memory) Get(ctx context.Context, sum digest.Sum) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blocks[sum]
	if !ok {
		return nil, &shards.MissingError{Block: sum}
	}
	if got := digest.Of(b); got != sum {
		return nil, &shards.MismatchError{What: "block " + sum.String(), Got: got.String(), Want: sum.String()}
	}
	return slices.Clone(b), nil
}

// Put implements [shards.Store].
func (m *Memory) Put(block []byte) (digest.Sum, error) {
	if len(block) > digest.BlockSize {
		return digest.Sum{}, errors.New("block is larger than digest.BlockSize")
	}
	sum := digest.Of(block)
	m.Plant(sum, block)
	return sum, nil
}

// Plant stores bytes under a name that need not be theirs, as a damaged disk
// or a lying peer would.
func (m *Memory) Plant(sum digest.Sum, block []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blocks == nil {
		m.blocks = make(map[digest.Sum][]byte)
	}
	m.blocks[sum] = slices.Clone(block)
}

// Subject is a store under test.
type Subject struct {
	// Open returns a store that holds the given blocks and no other. Of two
	// neighbours in the list only the last may be shorter than a full block.
	Open func(t *testing.T, blocks [][]byte) shards.Store
	// Damage replaces the bytes that the store last opened keeps of a block.
	// nil: the store cannot be damaged from here.
	Damage func(t *testing.T, sum digest.Sum, bytes []byte)
	// ReadOnly stores take no block they do not hold.
	ReadOnly bool
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	held := [][]byte{full(1), full(2), []byte("a short block")}
	t.Run("held", func(t *testing.T) { s.held(t, held) })
	t.Run("missing", func(t *testing.T) { s.missing(t, held) })
	t.Run("put", func(t *testing.T) { s.put(t, held) })
	t.Run("oversize", func(t *testing.T) { s.oversize(t, held) })
	t.Run("cancelled", func(t *testing.T) { s.cancelled(t, held) })
	t.Run("concurrent", func(t *testing.T) { s.concurrent(t, held) })
	if s.Damage != nil {
		t.Run("flipped bit", func(t *testing.T) { s.flipped(t, held) })
	}
}

// full returns a block of the full size.
func full(seed byte) []byte {
	b := make([]byte, digest.BlockSize)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i) ^ seed
	}
	return b
}

func (s Subject) held(t *testing.T, held [][]byte) {
	store := s.Open(t, held)
	for i, want := range held {
		sum := digest.Of(want)
		if n, ok := store.Size(sum); !ok || n != len(want) {
			t.Errorf("Size of block %d: %d, %v; want %d, true", i, n, ok, len(want))
		}
		got, err := store.Get(t.Context(), sum)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Get of block %d: %d bytes, %v", i, len(got), err)
		}
		got[0] ^= 1 // the caller owns what it got
		if again, err := store.Get(t.Context(), sum); err != nil || !bytes.Equal(again, want) {
			t.Errorf("second Get of block %d: %d bytes, %v", i, len(again), err)
		}
	}
}

func (s Subject) missing(t *testing.T, held [][]byte) {
	store := s.Open(t, held)
	absent := digest.Of([]byte("nobody has this"))
	if n, ok := store.Size(absent); ok {
		t.Errorf("Size of a block it lacks: %d, true", n)
	}
	var missing *shards.MissingError
	if b, err := store.Get(t.Context(), absent); !errors.As(err, &missing) || missing.Block != absent {
		t.Errorf("Get of a block it lacks: %q, %v; want a MissingError that names it", b, err)
	}
}

func (s Subject) put(t *testing.T, held [][]byte) {
	store := s.Open(t, held)
	for _, b := range held { // again: no-op
		if sum, err := store.Put(b); err != nil || sum != digest.Of(b) {
			t.Errorf("Put of a block it has: %v, %v", sum, err)
		}
	}
	fresh := []byte("a block it has never seen")
	sum, err := store.Put(fresh)
	if s.ReadOnly {
		if err == nil {
			t.Error("a read-only store took a block")
		}
		return
	}
	if err != nil || sum != digest.Of(fresh) {
		t.Fatalf("Put: %v, %v", sum, err)
	}
	if got, err := store.Get(t.Context(), sum); err != nil || !bytes.Equal(got, fresh) {
		t.Errorf("Get after Put: %q, %v", got, err)
	}
}

func (s Subject) oversize(t *testing.T, held [][]byte) {
	store := s.Open(t, held)
	large := append(full(3), 0)
	if sum, err := store.Put(large); err == nil {
		t.Errorf("Put of %d bytes: accepted as %v", len(large), sum)
	}
	if _, ok := store.Size(digest.Of(large)); ok {
		t.Error("an oversize block is held")
	}
}

func (s Subject) cancelled(t *testing.T, held [][]byte) {
	store := s.Open(t, held)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Get(ctx, digest.Of(held[0])); !errors.Is(err, context.Canceled) {
		t.Errorf("Get after its context ended: %v", err)
	}
}

func (s Subject) concurrent(t *testing.T, held [][]byte) {
	store := s.Open(t, held)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, b := range held {
				if got, err := store.Get(t.Context(), digest.Of(b)); err != nil || !bytes.Equal(got, b) {
					t.Errorf("Get: %d bytes, %v", len(got), err)
				}
				if _, err := store.Put(b); err != nil {
					t.Errorf("Put: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func (s Subject) flipped(t *testing.T, held [][]byte) {
	store := s.Open(t, held)
	sum := digest.Of(held[1])
	damaged := slices.Clone(held[1])
	damaged[len(damaged)/2] ^= 0x10
	s.Damage(t, sum, damaged)
	var mismatch *shards.MismatchError
	if b, err := store.Get(t.Context(), sum); !errors.As(err, &mismatch) {
		t.Errorf("Get of a block with a flipped bit: %d bytes, %v; want a MismatchError", len(b), err)
	}
	for _, other := range [][]byte{held[0], held[2]} {
		if got, err := store.Get(t.Context(), digest.Of(other)); err != nil || !bytes.Equal(got, other) {
			t.Errorf("Get of its neighbour: %d bytes, %v", len(got), err)
		}
	}
}
