package exact

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// fused matches the multiply-add instructions of amd64 and arm64 in a listing of the compiler.
var fused = regexp.MustCompile(`\t(VFN?M(ADD|SUB)\w*|FN?M(ADD|SUB)[SD])\t`)

// TestNoFusedMultiplyAdd compiles the packages of hashed arithmetic for each instruction set that has a fused
// multiply-add, and fails where the compiler used one in Go code: that is a product without its float32(…).
func TestNoFusedMultiplyAdd(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for three instruction sets")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	for _, target := range []string{"GOARCH=amd64 GOAMD64=v1", "GOARCH=amd64 GOAMD64=v3", "GOARCH=arm64"} {
		cmd := exec.Command("go", "build", "-gcflags=-S", "../exact", "../cpu")
		cmd.Env = append(os.Environ(), append(strings.Fields(target), "GOOS=linux", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")...)
		listing, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", target, err, lastLines(string(listing), 20))
		}
		for _, function := range []string{"trainer/exact.Exp STEXT", "trainer/cpu.gemm STEXT"} {
			if !strings.Contains(string(listing), function) {
				t.Fatalf("%s: no listing of %s", target, function)
			}
		}
		for line := range strings.Lines(string(listing)) {
			if fused.MatchString(line) {
				t.Errorf("%s: fused: %s", target, strings.TrimSpace(line))
			}
		}
	}
}

// TestFusedPattern keeps the pattern honest.
func TestFusedPattern(t *testing.T) {
	for _, line := range []string{"\tVFMADD231SS\tX1, X2, X3", "\tVFNMADD213SD\tX1", "\tFMADDS\tF1, F2, F3, F0", "\tFNMSUBD\tF1", "\tFMSUBS\tF1"} {
		if !fused.MatchString(line) {
			t.Errorf("%q overlooked", line)
		}
	}
	if fused.MatchString("\tMULSS\tX1, X0") || fused.MatchString("\tFMULS\tF1, F0") {
		t.Error("a plain product counts as fused")
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
