//go:build unix

package shards_test

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

// limitDir names, in the environment of a child process, the store it writes to.
const limitDir = "ALLMEND_TEST_LIMIT_DIR"

// TestPutFailsHalfWay lets a write of a block fail in the middle, as on a full
// disk: the error names the file, and the store holds what it held before.
func TestPutFailsHalfWay(t *testing.T) {
	if dir := os.Getenv(limitDir); dir != "" {
		putUnderLimit(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPutFailsHalfWay$")
	cmd.Env = append(os.Environ(), limitDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	store, err := shards.OpenDirStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := store.Get(t.Context(), digest.Of([]byte("small"))); err != nil || string(b) != "small" {
		t.Errorf("what was there before: %q, %v", b, err)
	}
	files := 0
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files != 1 {
		t.Errorf("%d files in the store, want 1 (%v)", files, err)
	}
}

func putUnderLimit(t *testing.T, dir string) {
	signal.Ignore(syscall.SIGXFSZ) // else the kernel ends the process instead of failing the write
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		t.Skipf("no limit can be set: %v", err)
	}
	store, err := shards.OpenDirStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put([]byte("small")); err != nil {
		t.Fatal(err)
	}
	large := make([]byte, digest.BlockSize)
	if _, err := store.Put(large); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("Put over the limit: %v, want %v", err, syscall.EFBIG)
	}
	if _, ok := store.Size(digest.Of(large)); ok {
		t.Error("a block that was not written counts as held")
	}
}
