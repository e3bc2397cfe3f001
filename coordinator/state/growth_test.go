package state_test

import (
	"fmt"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// TestSnapshotGrowth: what a round leaves in the snapshot does not depend on
// its number of units (1024 here), however a member rejects them.
func TestSnapshotGrowth(t *testing.T) {
	spec := testSpec(1, 2)
	spec.Batch, spec.Unit, spec.Sequences, spec.Checkpoint, spec.Rounds = 1024, 1, 1<<40, 1<<20, 1<<20
	m, err := state.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	c := &chance{t: t, m: m, book: book{spec: spec, at: map[uint64]string{}, round: map[uint64]uint64{}}}
	c.say(run.Accept{Spec: m.ID()}, "c1")
	var odd []int
	for u := 1; u < 512; u += 2 {
		odd = append(odd, u)
	}
	before := 0
	for r := range uint64(8) {
		root := spec.InitialState
		if r > 0 {
			root = digest.Of(fmt.Append(nil, r))
		}
		for _, n := range digits("m", 2) {
			c.say(run.Ready{Round: r + 1, State: root}, n)
		}
		c.say(run.Commit{Round: r + 1, State: root, Targets: 9, Rejected: run.FormatUnits(odd)}, "m1")
		c.say(run.Commit{Round: r + 1, State: root, Targets: 9}, "m2")
		ring := run.ContributorsDigest(r+1, 1, m.View().Contributors)
		for _, n := range digits("m", 2) {
			c.say(run.Result{Round: r + 1, Attempt: 1, Contributors: ring}, n)
		}
		if m.View().Step != r+1 {
			t.Fatalf("round %d is not closed: %+v", r+1, m.View().Reason)
		}
		b, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if r > 3 && len(b)-before > 2000 {
			t.Errorf("round %d added %d bytes to the snapshot", r+1, len(b)-before)
		}
		before = len(b)
	}
}
