package allmend_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/testrun"
)

// TestVerifyByHand runs the shell blocks of docs/verify-by-hand.md against the
// evidence of a small run, then against damaged copies of it, where some block
// must fail.
func TestVerifyByHand(t *testing.T) {
	for _, tool := range []string{"sh", "sha256sum", "basenc", "od", "dd", "grep", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("it needs %s: %v", tool, err)
		}
	}
	script := strings.Join(fences(page(t, "docs/verify-by-hand.md"), "sh"), "\n")
	dir := t.TempDir()
	made, err := testrun.Make(t.Context(), dir, testrun.Script{})
	if err != nil {
		t.Fatal(err)
	}
	shell := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "RUN="+made.ID.String(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := shell(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, pattern := range []string{
		"evidence/spec.json", "evidence/log.jsonl", "evidence/head.json", "evidence/checkpoints/00000006/model.safetensors",
		"evidence/checkpoints/00000006/manifest.json", "evidence/vectors/*", "evidence/units/*", "shards/tokens-00000.bin", "shards/manifest.json",
	} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no such file, %v", pattern, err)
		}
		good, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte(nil), good...)
		bad[len(bad)-20] ^= 1 // in head.json that is the root; signatures need more than a shell
		if err := os.WriteFile(files[0], bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := shell(); err == nil {
			t.Errorf("%s has a flipped bit and nothing failed\n%s", pattern, out)
		}
		if err := os.WriteFile(files[0], good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
