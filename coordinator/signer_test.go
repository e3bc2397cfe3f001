package coordinator

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// unmarked keeps no marker.
func unmarked() error { return nil }

func TestSignerNeverSignsTwoRoots(t *testing.T) {
	dir := t.TempDir()
	id := digest.Of([]byte("run"))
	log := openRecords(t, filepath.Join(dir, "records"))
	if err := log.Append(0, someRecords(6)...); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "head.json")
	s, err := openSigner(path, id, key("c"), unmarked)
	if err != nil {
		t.Fatal(err)
	}
	heads, err := s.sign(log, []uint64{2, 5})
	if err != nil || len(heads) != 2 {
		t.Fatalf("%v, %v", heads, err)
	}
	for i, size := range []uint64{2, 5} {
		root, _ := log.Root(size)
		if h := heads[i].Statement.(run.Head); h.Index != size || h.Root != root {
			t.Errorf("head %+v, want %d, %v", h, size, root)
		}
	}
	again, err := openSigner(path, id, key("c"), unmarked)
	if err != nil {
		t.Fatal(err)
	}
	if heads, err := again.sign(log, []uint64{2, 4, 5}); err != nil || len(heads) != 0 {
		t.Errorf("signed again: %v, %v", heads, err)
	}
	other := openRecords(t, filepath.Join(dir, "other"))
	if err := other.Append(0, append(someRecords(4), []byte("x"), []byte("y"))...); err != nil {
		t.Fatal(err)
	}
	var fork *ForkError
	if _, err := again.sign(other, []uint64{6}); !errors.As(err, &fork) || fork.Index != 5 {
		t.Errorf("signed another history: %v", err)
	}
	if _, err := openSigner(path, id, key("d"), unmarked); err == nil {
		t.Error("took another key's head")
	}
	if _, err := openSigner(path, digest.Of([]byte("other")), key("c"), unmarked); err == nil {
		t.Error("took another run's head")
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSigner(path, id, key("c"), unmarked); err == nil {
		t.Error("took a damaged head")
	}
}
