package state_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

type heads struct {
	t   *testing.T
	set *state.HeadSet
	id  run.ID
}

func newHeads(t *testing.T, coordinators int) *heads {
	id := digest.Of([]byte("run"))
	return &heads{t, state.NewHeadSet(id, addresses(digits("c", coordinators)...)), id}
}

func (h *heads) head(who string, size uint64, root string) run.Signed {
	s, err := run.Sign(h.id, key(who), run.Head{Index: size, Root: digest.Of([]byte(root))})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *heads) add(who string, size uint64, root string) error {
	return h.set.Add(h.head(who, size, root))
}

func (h *heads) derived(size uint64, root string, who ...string) error {
	return h.set.Derived(size, digest.Of([]byte(root)), addresses(who...))
}

func (h *heads) covered(want uint64) {
	h.t.Helper()
	if got := h.set.Covered(); got != want {
		h.t.Errorf("covered %d, want %d", got, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestHeadsCover(t *testing.T) {
	h := newHeads(t, 3)
	c := digits("c", 3)
	ok(t, h.add("c1", 2, "a")) // before this process has got there
	ok(t, h.derived(2, "a", c...))
	h.covered(0)
	ok(t, h.add("c1", 2, "a")) // once only
	h.covered(0)
	ok(t, h.add("c3", 2, "a"))
	h.covered(2)
	ok(t, h.derived(5, "b", c...))
	ok(t, h.add("c2", 5, "b"))
	h.covered(2)
	if s, ok := h.set.Signed(2); !ok || len(s.Signatures) != 2 {
		t.Errorf("head of 2 records: %v, %v", s, ok)
	} else if _, err := s.Signers(h.id); err != nil {
		t.Errorf("signatures are not sorted: %v", err)
	}
	if _, ok := h.set.Signed(5); ok {
		t.Error("one signature covers")
	}
	if err := h.add("m1", 5, "b"); err == nil {
		t.Error("a member signed a head")
	}
	if err := h.add("c1", 4, "x"); err == nil {
		t.Error("a head between a statement and its transitions")
	}
	if err := h.add("c1", 5000, "x"); err == nil {
		t.Error("a head far ahead")
	}
	if err := h.set.Add(run.Signed{Statement: run.Accept{}}); err == nil {
		t.Error("an Accept is no head")
	}
	// A rotation: the old key counts up to there, the new one from there.
	ok(t, h.derived(7, "c", "c1", "c2", "c4"))
	if err := h.add("c3", 7, "c"); err == nil {
		t.Error("a coordinator that has left signed a head")
	}
	ok(t, h.add("c4", 7, "c"))
	ok(t, h.add("c3", 5, "b"))
	h.covered(5)
	ok(t, h.add("c2", 7, "c"))
	h.covered(7)
}

func TestOneLiar(t *testing.T) {
	h := newHeads(t, 3)
	ok(t, h.derived(2, "a", digits("c", 3)...))
	ok(t, h.add("c1", 2, "a"))
	ok(t, h.add("c1", 2, "lie"))
	proofs := h.set.Proofs()
	if len(proofs) != 1 || proofs[0].Signer != key("c1").Address() || proofs[0].Heads[0].Statement == proofs[0].Heads[1].Statement {
		t.Fatalf("proofs: %v", proofs)
	}
	ok(t, h.add("c2", 2, "a"))
	h.covered(0) // the liar does not count
	ok(t, h.add("c3", 2, "a"))
	h.covered(2)
	if s, ok := h.set.Signed(2); !ok || len(s.Signatures) != 2 {
		t.Errorf("the head is handed out with %d signatures, ok %v; the liar's does not count", len(s.Signatures), ok)
	}
}

func TestForkStopsEverything(t *testing.T) {
	for _, order := range [][]string{{"c1 a", "c2 a", "c2 b", "c3 b"}, {"c2 b", "c3 b"}} {
		h := newHeads(t, 3)
		ok(t, h.derived(2, "a", digits("c", 3)...))
		var err error
		for _, o := range order {
			err = h.add(o[:2], 2, o[3:])
		}
		var fork *state.Fork
		if !errors.As(err, &fork) || fork.Size != 2 || len(fork.Heads) != len(order) {
			t.Fatalf("%v: %v", order, err)
		}
		if err := h.add("c1", 2, "a"); !errors.As(err, &fork) {
			t.Error("the set goes on after a fork")
		}
		if err := h.derived(4, "c", digits("c", 3)...); !errors.As(err, &fork) {
			t.Error("the set goes on after a fork")
		}
	}
	// Heads that come first are judged when the process gets there.
	h := newHeads(t, 1)
	ok(t, h.add("c1", 2, "b"))
	if err := h.derived(2, "a", "c1"); err == nil {
		t.Error("another history is taken")
	}
}

// TestHeadsBound fills the set: what is kept stays bounded, and covering goes
// on.
func TestHeadsBound(t *testing.T) {
	h := newHeads(t, 1)
	sizes := slices.Collect(func(yield func(uint64) bool) {
		for i := uint64(1); i <= 1200 && yield(i); i++ {
		}
	})
	for _, n := range sizes {
		ok(t, h.derived(n, "a", "c1"))
	}
	if err := h.add("c1", 1, "lie"); err != nil {
		t.Errorf("a head that was forgotten: %v", err)
	}
	ok(t, h.add("c1", 1200, "a"))
	h.covered(1200)
}
