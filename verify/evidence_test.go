package verify_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/forge"
	"github.com/allmend-network/allmend/verify/testrun"
)

// TestGolden pins the whole run: its Spec, every statement, every transition
// and every number that was trained stand behind these digests.
func TestGolden(t *testing.T) {
	const (
		id   = "c13e084f4e46f769a3f345d7c665b583b4db47ec1f0002c93006bd9cf9c3b996"
		root = "262cc753676333cc5f71a678c37728265fb6e0ee59e5f6c383307d7594dd8277"
	)
	r, err := testrun.Make(t.Context(), t.TempDir(), testrun.Script{})
	if err != nil {
		t.Fatal(err)
	}
	if r.ID.String() != id || r.Root.String() != root || r.Size != 107 {
		t.Errorf("run %s, log of %d records with root %s; want %s, 107, %s", r.ID, r.Size, r.Root, id, root)
	}
}

func TestOpen(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	e, err := verify.Open(r.ID, r.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	if e.Size != r.Size || e.Root != r.Root || len(e.Rounds) != 6 || len(e.Signers) != 3 || len(e.Findings) != 0 {
		t.Errorf("%d records, root %s, %d rounds, %d signers, findings %q", e.Size, e.Root, len(e.Rounds), len(e.Signers), e.Findings)
	}
	for i, round := range e.Rounds {
		if round.Next.IsZero() || i > 0 && e.Rounds[i-1].Next != round.Open.State || len(round.Commits) != 3 {
			t.Errorf("round %d: next %s, %d commits", round.Closed.Round, round.Next, len(round.Commits))
		}
	}
	if got := len(e.Rounds[3].Closed.Contributors); got != 2 {
		t.Errorf("round 4 has %d contributors, want the 2 that were left", got)
	}
	dirs, err := e.CheckpointDirs()
	if err != nil || len(dirs) != 2 {
		t.Fatalf("checkpoints %v, %v", dirs, err)
	}
	for round, dir := range dirs {
		state, m, err := e.Checkpoint(dir)
		if err != nil || m.Round != round || state.Root() != e.Checkpoints[round].State {
			t.Errorf("checkpoint %d: %v", round, err)
		}
	}
	if found, err := e.Objects(t.Context(), nil); err != nil || found.Vectors != 8 || found.Units != 6 {
		t.Errorf("objects %+v, %v", found, err)
	}
	if _, unchecked, err := e.Shards(t.Context(), r.Shards, nil); err != nil || len(unchecked) != 0 {
		t.Errorf("shards: %v, unchecked %q", err, unchecked)
	}
}

// check makes all the checks of this package, as one that trusts only the ID.
func check(t *testing.T, l forge.Layout) error {
	t.Helper()
	e, err := verify.Open(l.Run, l.Evidence)
	if err != nil {
		return err
	}
	_, err = e.Objects(t.Context(), nil)
	dirs, dirsErr := e.CheckpointDirs()
	err = errors.Join(err, dirsErr)
	for _, dir := range dirs {
		_, _, checkErr := e.Checkpoint(dir)
		err = errors.Join(err, checkErr)
	}
	_, _, shardsErr := e.Shards(t.Context(), l.Shards, nil)
	return errors.Join(err, shardsErr)
}

func TestForgeries(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	l := forge.Layout{Run: r.ID, Evidence: r.Evidence, Shards: r.Shards, Stranger: testrun.Key("stranger")}
	names := map[string]bool{}
	for _, c := range forge.Cases() {
		if names[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		names[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			forged, err := l.Copy(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			want, err := c.Apply(forged)
			if err != nil {
				t.Fatal(err)
			}
			err = check(t, forged)
			if !errors.As(err, new(*verify.Failure)) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want a failure that names %q", err, want)
			}
		})
	}
	if err := check(t, l); err != nil {
		t.Errorf("the original: %v", err)
	}
}

// TestFlippedBits flips a bit in every seventh byte of the head, and in some of the
// log.
func TestFlippedBits(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	for _, c := range []struct {
		file string
		step int
	}{{verify.HeadFile, 7}, {verify.LogFile, 997}} {
		path := filepath.Join(r.Evidence, c.file)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += c.step {
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := verify.Open(r.ID, r.Evidence); !errors.As(err, new(*verify.Failure)) {
				t.Errorf("bit %d of byte %d of %s flipped: %v", i%8, i, c.file, err)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := verify.Open(r.ID, r.Evidence); err != nil {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	e, err := verify.Open(r.ID, r.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"evidence": second(verify.Open(r.ID, filepath.Join(r.Evidence, "none"))),
		"vector":   second(e.Vector(digest.Sum{1})),
		"units":    second(e.Units(digest.Sum{1})),
	} {
		if !errors.As(err, new(*verify.Missing)) {
			t.Errorf("%s: %v, want something missing", what, err)
		}
	}
	if _, _, err := e.Checkpoint(t.TempDir()); !errors.As(err, new(*verify.Missing)) {
		t.Errorf("checkpoint: %v", err)
	}
	if _, _, err := e.Samples(t.TempDir()); !errors.As(err, new(*verify.Missing)) {
		t.Errorf("samples: %v", err)
	}
	for _, name := range []string{verify.SpecFile, verify.LogFile, verify.HeadFile} {
		away := filepath.Join(t.TempDir(), name)
		if err := os.Rename(filepath.Join(r.Evidence, name), away); err != nil {
			t.Fatal(err)
		}
		if _, err := verify.Open(r.ID, r.Evidence); !errors.As(err, new(*verify.Missing)) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
		if err := os.Rename(away, filepath.Join(r.Evidence, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestFewerSignatures accepts a head that k of n signed.
func TestFewerSignatures(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	w, err := verify.NewWriter(r.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	head := headOf(t, r)
	head.Signatures = head.Signatures[1:]
	if err := w.Head(head); err != nil {
		t.Fatal(err)
	}
	e, err := verify.Open(r.ID, r.Evidence)
	if err != nil || len(e.Signers) != 2 {
		t.Errorf("2 of 3 signatures: %v", err)
	}
}
