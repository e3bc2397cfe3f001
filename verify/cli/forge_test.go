package cli_test

import (
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/cli"
	"github.com/allmend-network/allmend/verify/forge"
	"github.com/allmend-network/allmend/verify/testrun"
)

// TestForgeries runs every case against the command that must refuse it, and
// the first of them against all checks at once.
func TestForgeries(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	l := forge.Layout{Run: r.ID, Evidence: r.Evidence, Shards: r.Shards, Stranger: testrun.Key("stranger")}
	for i, c := range forge.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			copied, err := l.Copy(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			want, err := c.Apply(copied)
			if err != nil {
				t.Fatal(err)
			}
			forged := *r
			forged.Evidence, forged.Shards = copied.Evidence, copied.Shards
			checks := []string{c.Check}
			if i%5 == 0 {
				checks = append(checks, "")
			}
			for _, check := range checks {
				stdout, stderr, code := verify(t, of(&forged, check)...)
				if code != cli.Failed {
					t.Errorf("%q: exit code %d, want %d\n%s%s", check, code, cli.Failed, stdout, stderr)
				}
				if !strings.Contains(stdout, "FAILED") || !strings.Contains(stdout, want) || !strings.Contains(stderr, want) {
					t.Errorf("%q: does not name %q\n%s%s", check, want, stdout, stderr)
				}
				t.Log(stderr)
			}
		})
	}
	for _, check := range []string{"run", "checkpoint", "shards", ""} {
		if stdout, stderr, code := verify(t, of(r, check)...); code != cli.Verified {
			t.Errorf("%q: the original does not verify any more\n%s%s", check, stdout, stderr)
		}
	}
}
