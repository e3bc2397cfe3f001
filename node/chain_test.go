package node

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/allmend-network/allmend/verify/testrun"
)

// history is a log as coordinators would make it.
type history struct {
	t       *testing.T
	made    *testrun.Run
	machine *state.Machine
	records [][]byte
}

func newHistory(t *testing.T, made *testrun.Run) *history {
	m, err := state.New(made.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return &history{t: t, made: made, machine: m}
}

func (h *history) say(k identity.Key, st run.Statement) {
	h.t.Helper()
	s, err := run.Sign(h.made.ID, k, st)
	if err != nil {
		h.t.Fatal(err)
	}
	entries, err := h.machine.Apply(s)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		h.records = append(h.records, e.Bytes)
	}
}

func (h *history) head(k identity.Key) run.Signed {
	size, root := h.machine.Log()
	s, err := run.Sign(h.made.ID, k, run.Head{Index: size, Root: root})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *history) accept(order ...int) {
	for _, i := range order {
		h.say(h.made.Coordinators[i], run.Accept{Spec: h.made.ID})
	}
}

func feedChain(t *testing.T, c *chain, from uint64, records [][]byte) {
	t.Helper()
	for i, b := range records {
		if err := c.take(from+uint64(i), b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestChainLeavesALiar follows a coordinator that shows another history than
// the others sign: nothing of it is acted on or kept, and what k sign replaces
// it.
func TestChainLeavesALiar(t *testing.T) {
	made, err := testrun.Make(soon(t), t.TempDir(), testrun.Script{})
	if err != nil {
		t.Fatal(err)
	}
	honest, liar := newHistory(t, made), newHistory(t, made)
	honest.accept(0, 1, 2)
	liar.accept(0, 2, 1)
	path := filepath.Join(t.TempDir(), "records")
	c, _, err := openChain(made.Spec, path)
	if err != nil {
		t.Fatal(err)
	}
	feedChain(t, c, 0, liar.records)
	if err := c.heads.Add(liar.head(made.Coordinators[0])); err != nil {
		t.Fatal(err)
	}
	if entries, err := c.cover(); err != nil || len(entries) > 0 {
		t.Fatalf("acted on %d records of one coordinator, %v", len(entries), err)
	}
	feedChain(t, c, 0, honest.records)
	for _, k := range made.Coordinators[1:] {
		if err := c.heads.Add(honest.head(k)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := c.cover()
	if err != nil || len(entries) != len(honest.records) {
		t.Fatalf("covered %d records, %v; want %d", len(entries), err, len(honest.records))
	}
	size, root := honest.machine.Log()
	if got, err := c.records.Root(size); err != nil || got != root {
		t.Errorf("root %v, %v; want %v", got, err, root)
	}
	if err := c.records.Close(); err != nil {
		t.Fatal(err)
	}
	again, entries, err := openChain(made.Spec, path)
	if err != nil || len(entries) != len(honest.records) {
		t.Fatalf("after a restart: %d records, %v", len(entries), err)
	}
	defer again.records.Close()
	if again.view().Status != state.Running {
		t.Errorf("status %s", again.view().Status)
	}
}

// TestChainStopsAtAFork demands that two histories with k heads each end
// everything.
func TestChainStopsAtAFork(t *testing.T) {
	made, err := testrun.Make(soon(t), t.TempDir(), testrun.Script{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := newHistory(t, made), newHistory(t, made)
	one.accept(0, 1, 2)
	two.accept(0, 2, 1)
	c, _, err := openChain(made.Spec, filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.records.Close()
	feedChain(t, c, 0, one.records)
	for _, k := range made.Coordinators[:2] {
		if err := c.heads.Add(one.head(k)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.cover(); err != nil {
		t.Fatal(err)
	}
	var fork *state.Fork
	for _, k := range made.Coordinators[1:] {
		err = errors.Join(err, c.heads.Add(two.head(k)))
	}
	if !errors.As(err, &fork) {
		t.Errorf("two histories: %v", err)
	}
}

// TestChainKeepsHeads lets a liar's records come after the heads of the honest
// ones, and a head before its signer is known: none is asked for again.
func TestChainKeepsHeads(t *testing.T) {
	made, err := testrun.Make(soon(t), t.TempDir(), testrun.Script{})
	if err != nil {
		t.Fatal(err)
	}
	honest, liar := newHistory(t, made), newHistory(t, made)
	honest.accept(0, 1, 2)
	liar.accept(0, 2, 1)
	c, _, err := openChain(made.Spec, filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.records.Close()
	for _, k := range made.Coordinators[1:] {
		if err := c.head(honest.head(k)); err != nil { // before any record
			t.Fatal(err)
		}
	}
	var lied error
	for i, b := range liar.records {
		if err := c.take(uint64(i), b); err != nil {
			lied = err
			break
		}
	}
	if !errors.Is(lied, errFalse) {
		t.Errorf("records against the heads of k coordinators: %v", lied)
	}
	feedChain(t, c, 0, honest.records)
	if entries, err := c.cover(); err != nil || len(entries) != len(honest.records) {
		t.Errorf("covered %d records, %v; want %d", len(entries), err, len(honest.records))
	}
	if len(c.kept) != 0 {
		t.Errorf("%d heads kept of what is covered", len(c.kept))
	}
	for size := range uint64(3 * maxKept) {
		s, err := run.Sign(made.ID, testrun.Key("stranger"), run.Head{Index: size})
		if err == nil {
			err = c.head(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(c.kept) > maxKept {
		t.Errorf("%d heads of a stranger are kept", len(c.kept))
	}
}
