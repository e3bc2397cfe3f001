package verify_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/allmend-network/allmend/verify/testrun"
)

func headOf(t *testing.T, r *testrun.Run) run.Signed {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.Evidence, verify.HeadFile))
	if err != nil {
		t.Fatal(err)
	}
	head, err := run.ParseSigned(b)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// TestWriterCleansUp opens a folder in which a writer was interrupted.
func TestWriterCleansUp(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	left := filepath.Join(r.Evidence, "vectors", ".partial-123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Open(r.ID, r.Evidence); !errors.As(err, new(*verify.Failure)) {
		t.Errorf("half a file was overlooked: %v", err)
	}
	if _, err := verify.NewWriter(r.Evidence); err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Open(r.ID, r.Evidence); err != nil {
		t.Error(err)
	}
}

func TestWriterRefusesWrongNames(t *testing.T) {
	dir := t.TempDir()
	w, err := verify.NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := digest.Sum{1}
	if err := w.Vector(name, []byte{1, 2, 3, 4}); !errors.As(err, new(*verify.Failure)) || w.Has(verify.VectorFile(name)) {
		t.Errorf("vector: %v", err)
	}
	if err := w.Units(name, []digest.Sum{{2}}); !errors.As(err, new(*verify.Failure)) || w.Has(verify.UnitsFile(name)) {
		t.Errorf("units: %v", err)
	}
}

// TestWriterLeavesNothingHalf lets the content fail half way.
func TestWriterLeavesNothingHalf(t *testing.T) {
	r, dir := makeRun(t, testrun.Script{}), t.TempDir()
	w, err := verify.NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the peer went away")
	err = w.Log(func(yield func([]byte, error) bool) {
		_ = yield([]byte("{}"), nil) && yield(nil, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("log: %v", err)
	}
	from := filepath.Join(r.Evidence, verify.CheckpointDir(6))
	manifest, err := os.ReadFile(filepath.Join(from, checkpoint.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]func(checkpoint.File) (io.ReadCloser, error){
		"fails": func(checkpoint.File) (io.ReadCloser, error) { return nil, broken },
		"wrong": func(checkpoint.File) (io.ReadCloser, error) {
			return os.Open(filepath.Join(from, checkpoint.ManifestFile))
		},
	} {
		if err := w.Checkpoint(manifest, nil, content); err == nil || w.Has(verify.CheckpointDir(6)) {
			t.Errorf("checkpoint from content that is %s: %v", name, err)
		}
	}
	for _, pattern := range []string{".*", "*/.*", "*.jsonl", "checkpoints/*"} {
		if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// TestWriterAdds writes what is there already.
func TestWriterAdds(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	w, err := verify.NewWriter(r.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(r.Evidence, verify.CheckpointDir(6), checkpoint.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	unasked := func(checkpoint.File) (io.ReadCloser, error) { return nil, errors.New("asked for a file that is there") }
	if err := w.Checkpoint(manifest, nil, unasked); err != nil {
		t.Error(err)
	}
	if !w.Has(verify.CheckpointDir(4)) || w.Has(verify.CheckpointDir(2)) {
		t.Error("Has does not say what is there")
	}
}
