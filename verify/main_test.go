package verify_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/allmend-network/allmend/verify/testrun"
)

// scratch is where [honest] lies; TestMain makes and removes it.
var scratch string

// honest is a run in which nobody lies, made once: most tests want a copy.
var honest = sync.OnceValues(func() (*testrun.Run, error) {
	return testrun.Make(context.Background(), scratch, testrun.Script{})
})

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "allmend-run-*"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// makeRun returns a run of the test's own.
func makeRun(t testing.TB, script testrun.Script) *testrun.Run {
	t.Helper()
	dir := t.TempDir()
	if script != (testrun.Script{}) {
		r, err := testrun.Make(t.Context(), dir, script)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r, err := honest()
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(filepath.Dir(r.Evidence)))
	}
	if err != nil {
		t.Fatal(err)
	}
	copied := *r
	copied.Evidence, copied.Shards = filepath.Join(dir, "evidence"), filepath.Join(dir, "shards")
	return &copied
}
