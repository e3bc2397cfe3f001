package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/cli"
	"github.com/allmend-network/allmend/verify/testrun"
)

// verify runs the program and returns what it wrote and its exit code.
func verify(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = cli.Run(t.Context(), args, strings.NewReader(""), &out, &err)
	return out.String(), err.String(), code
}

// of returns the arguments of a check of r.
func of(r *testrun.Run, check string) []string {
	args := []string{"--run", r.ID.String(), "--evidence", r.Evidence}
	if check != "" {
		args = append([]string{check}, args...)
	}
	if check != "run" && check != "checkpoint" {
		args = append(args, "--shards", r.Shards)
	}
	return args
}

func TestEverything(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	stdout, stderr, code := verify(t, of(r, "")...)
	t.Logf("\n%s%s", stdout, stderr)
	if code != cli.Verified {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{
		"verified     spec", "verified     log", "root " + r.Root.Short(), "signed by 3 of 3 coordinators, 2 must",
		"8 vectors and 6 lists of unit hashes", "round 4, step 4", "round 6, step 6", "signed by 3 members, most of its 2 contributors among them, and by 3 coordinators", "verified     shards",
		"verified     replay", "verified     unit", "NOT CHECKED", "licence, toxicity", "rounds 1 to 4: no checkpoint from before it is here",
		"round 6: covered by the evidence, but not drawn", "lawful", "verified: 9 checks held",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("output does not say %q", want)
		}
	}
}
