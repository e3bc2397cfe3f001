package state_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// replayed applies records to a new machine.
func replayed(spec run.Spec, records [][]byte) (*state.Machine, error) {
	return state.Replay(spec, func(yield func([]byte, error) bool) {
		for _, b := range records {
			if !yield(b, nil) {
				return
			}
		}
	})
}

func shortSpec() run.Spec {
	spec := testSpec(3, 2)
	spec.Checkpoint, spec.Rounds = 1, 10
	return spec
}

func TestReplayForgeries(t *testing.T) {
	spec := shortSpec()
	m, err := state.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	var log [][]byte
	open := -1
	for i, e := range play(t, spec, m) {
		log = append(log, e.Bytes)
		if _, ok := e.Transition.(run.Open); ok {
			open = i
		}
	}
	if _, err := replayed(spec, log); err != nil {
		t.Fatal(err)
	}
	other := spec
	other.DataSeed++
	foreign, err := state.New(other)
	if err != nil {
		t.Fatal(err)
	}
	alien := play(t, other, foreign)
	stop := errors.New("disk failed")
	for _, c := range []struct {
		name, want string
		log        [][]byte
	}{
		{"a middle record removed", "stands where record", slices.Delete(slices.Clone(log), 1, 2)},
		{"a transition removed", "it is not the OPEN that follows", slices.Delete(slices.Clone(log), open, open+1)},
		{"the end of a transition's statement", "before the OPEN that follows", log[:open]},
		{"two records exchanged", "stands where record", append([][]byte{log[1], log[0]}, log[2:]...)},
		{"a record twice", "stands where record", slices.Insert(slices.Clone(log), 1, log[0])},
		{"a record of another run", "belongs to run", append([][]byte{alien[0].Bytes}, log[1:]...)},
		{"another loss", "it is not the OPEN that follows", replace(log, open, `"step":1`, `"step":2`)},
		{"another statement", "Accept", replace(log, 0, `"statement":{"spec":"`, `"statement":{"spec":"0`)},
	} {
		_, err := replayed(spec, c.log)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := state.Replay(spec, func(yield func([]byte, error) bool) { yield(nil, stop) }); !errors.Is(err, stop) {
		t.Errorf("reading failed: %v", err)
	}
}

// replace changes the text of one record.
func replace(log [][]byte, i int, old, new string) [][]byte {
	log = slices.Clone(log)
	log[i] = bytes.Replace(log[i], []byte(old), []byte(new), 1)
	return log
}

// TestRoots compares the log's root after each record with the tree computed
// from all leaves.
func TestRoots(t *testing.T) {
	spec := shortSpec()
	m, err := state.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	if size, root := m.Log(); size != 0 || root != digest.Root(nil) {
		t.Errorf("empty log: %d records, root %s", size, root)
	}
	var leaves []digest.Sum
	for i, e := range play(t, spec, m) {
		leaves = append(leaves, digest.Leaf(e.Bytes))
		if want := digest.Root(leaves); e.Root != want || e.Index != uint64(i) {
			t.Errorf("record %d: index %d, root %s, want %s", i, e.Index, e.Root, want)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	spec := shortSpec()
	m, err := state.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	play(t, spec, m)
	b, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Restore(spec, b); err != nil {
		t.Fatal(err)
	}
	other := spec
	other.DataSeed++
	if _, err := state.Restore(other, b); err == nil || !strings.Contains(err.Error(), "belongs to run") {
		t.Errorf("snapshot of another run: %v", err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"version":1`, `"version":2`, "version 2"},
		{`"cursor":12`, `"cursor":13`, "do not cover"},
		{`"skips":0`, `"skips":00`, ""},
		{`"skips":0,`, ``, "missing"},
		{`"member":0,`, `"member":5,`, "belongs to member 5"},
		{`"rejected":"1"`, `"rejected":"9"`, "rejected units"},
		{`"phase":"gather"`, `"phase":"compute"`, "not the samples that are assigned"},
		{`"contributors":["`, `"contributors":["0x0000000000000000000000000000000000000000","`, "has not committed"},
	} {
		forged := bytes.Replace(b, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(forged, b) {
			t.Fatalf("%s is not in the snapshot", c.old)
		}
		if _, err := state.Restore(spec, forged); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s → %s: %v", c.old, c.new, err)
		}
	}
}

func FuzzRestore(f *testing.F) {
	spec := shortSpec()
	m, err := state.New(spec)
	if err != nil {
		f.Fatal(err)
	}
	play(f, spec, m)
	b, err := m.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := state.Restore(spec, b)
		if err != nil {
			return
		}
		back, err := m.Snapshot()
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("restored, but its snapshot differs (%v)", err)
		}
		m.View()
	})
}
