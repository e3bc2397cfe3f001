package demo

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/allmend-network/allmend/verify/forge"
	"github.com/allmend-network/allmend/verify/testrun"
)

var binaryPath string // by self; removed at the end

// self builds allmend once for all tests.
var self = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "allmend-demo-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "allmend")
	cmd := exec.Command("go", "build", "-o", path, "github.com/allmend-network/allmend/cmd/allmend")
	cmd.Env, cmd.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	binaryPath = path
	return path, cmd.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binaryPath != "" {
		os.RemoveAll(filepath.Dir(binaryPath))
	}
	os.Exit(code)
}

// testDemo returns a demo without a swarm that can run tools.
func testDemo(t *testing.T) *demo {
	t.Helper()
	path := testBinary(t)
	d := &demo{dir: t.TempDir(), story: newStory(Options{Stdout: io.Discard, Stderr: t.Output()})}
	var err error
	if d.supervisor, err = newSupervisor(path, d.path("logs")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stopAll)
	return d
}

// TestStranger checks and forges the evidence of a run that needed no network.
func TestStranger(t *testing.T) {
	d := testDemo(t)
	made, err := testrun.Make(t.Context(), t.TempDir(), testrun.Script{})
	if err != nil {
		t.Fatal(err)
	}
	d.report.Run = made.ID.String()
	if err := d.inspect(t.Context(), made.Evidence, made.Shards); err != nil {
		t.Fatal(err)
	}
	if err := d.forgeries(t.Context(), made.Evidence, made.Shards, forge.Cases()[:8]); err != nil {
		t.Fatal(err)
	}
	for _, c := range d.report.Checks {
		if !c.OK {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
	if len(d.report.Verified) == 0 || d.report.Forgeries != 8 {
		t.Errorf("%d checks, %d forgeries", len(d.report.Verified), d.report.Forgeries)
	}
}
