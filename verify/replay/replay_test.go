package replay_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/replay"
	"github.com/allmend-network/allmend/verify/testrun"
)

// audit makes a run and opens what it left.
func audit(t *testing.T, script testrun.Script, workers int) (*testrun.Run, *replay.Audit) {
	t.Helper()
	r, err := testrun.Make(t.Context(), t.TempDir(), script)
	if err != nil {
		t.Fatal(err)
	}
	return r, open(t, r, workers)
}

func open(t *testing.T, r *testrun.Run, workers int) *replay.Audit {
	t.Helper()
	e, err := verify.Open(r.ID, r.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	source, closer, err := e.Samples(r.Shards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closer.Close() })
	dirs, err := e.CheckpointDirs()
	if err != nil {
		t.Fatal(err)
	}
	return &replay.Audit{Evidence: e, Checkpoints: dirs, Source: source, Device: cpu.New(workers)}
}

// TestEveryRound replays a whole run, with one processor and with two.
func TestEveryRound(t *testing.T) {
	r, one := audit(t, testrun.Script{Everything: true}, 1)
	two := open(t, r, 2)
	covered, uncovered := one.Covered()
	if len(covered) != 6 || len(uncovered) != 0 {
		t.Fatalf("covered %v, not %v", covered, uncovered)
	}
	for _, round := range covered {
		report, err := one.Round(t.Context(), round)
		if err != nil {
			t.Fatal(err)
		}
		members := 3
		if round == 4 {
			members = 2
		}
		if len(report.Members) != members || report.After.IsZero() || report.Checkpoint >= round {
			t.Errorf("round %d: %+v", round, report)
		}
		again, err := two.Round(t.Context(), round)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(report) {
			t.Errorf("round %d with two processors: %v, %+v", round, err, again)
		}
	}
}

func TestEveryUnit(t *testing.T) {
	_, a := audit(t, testrun.Script{}, 1)
	for _, r := range a.Evidence.Rounds[4:] {
		for _, member := range r.Closed.Contributors {
			for unit := range 2 {
				u, err := a.Unit(t.Context(), r.Closed.Round, member, unit)
				if err != nil {
					t.Fatal(err)
				}
				if u.Units != 2 || len(u.Path) != 1 || u.Root != r.Commits[member].Units {
					t.Errorf("round %d, unit %d: %+v", r.Closed.Round, unit, u)
				}
			}
		}
	}
	if _, err := a.Unit(t.Context(), 6, a.Evidence.Rounds[5].Closed.Contributors[0], 2); !missing(err) {
		t.Errorf("a unit beyond the span: %v", err)
	}
}

func missing(err error) bool { return errors.As(err, new(*verify.Missing)) }

func TestUncoveredRoundsAreNamed(t *testing.T) {
	_, a := audit(t, testrun.Script{}, 1)
	covered, uncovered := a.Covered()
	if !slices.Equal(covered, []uint64{5, 6}) || len(uncovered) != 4 || uncovered[0].Round != 1 {
		t.Fatalf("covered %v, not %v", covered, uncovered)
	}
	if _, err := a.Round(t.Context(), 2); !missing(err) || !strings.Contains(err.Error(), "round 2") {
		t.Errorf("round 2: %v", err)
	}
	if _, err := a.Round(t.Context(), 7); !missing(err) {
		t.Errorf("round 7: %v", err)
	}
}

// TestRewind leaves out the rounds that were taken back, and replays those that
// followed.
func TestRewind(t *testing.T) {
	_, a := audit(t, testrun.Script{Rewind: 5}, 1)
	covered, uncovered := a.Covered()
	if !slices.Equal(covered, []uint64{6, 7}) || len(uncovered) != 5 || !strings.Contains(uncovered[4].Reason, "rewind") {
		t.Fatalf("covered %v, not %v", covered, uncovered)
	}
	report, err := a.Round(t.Context(), 7)
	if err != nil || !slices.Equal(report.Applied, []uint64{6}) || report.Checkpoint != 4 {
		t.Errorf("%v: %+v", err, report)
	}
	if found := a.Evidence.Findings; len(found) != 1 || !strings.Contains(found[0], "REWOUND") {
		t.Errorf("findings: %q", a.Evidence.Findings)
	}
}

// TestLies replays rounds whose every signature is right.
func TestLies(t *testing.T) {
	for _, c := range []struct {
		name   string
		script testrun.Script
		good   uint64
		want   []string
	}{
		{"a member that computed other samples", testrun.Script{Liar: 6}, 5, []string{"round 6, member", "from unit 0 of 2 on", "computed again"}},
		{"a sum in another order", testrun.Script{Disorder: 6}, 5, []string{"round 6", "the sum", "in the ring's order"}},
		{"another learning rate", testrun.Script{Rate: 6}, 5, []string{"round 6", "the state after it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, a := audit(t, c.script, 2)
			if _, err := a.Round(t.Context(), c.good); err != nil {
				t.Fatalf("round %d, which is honest: %v", c.good, err)
			}
			_, err := a.Round(t.Context(), 6)
			if !errors.As(err, new(*verify.Failure)) {
				t.Fatalf("got %v, want a failure", err)
			}
			if c.script.Liar > 0 {
				c.want = append(c.want, r.Members[2].Address().String())
				_, err := a.Unit(t.Context(), 6, r.Members[2].Address(), 1)
				if !errors.As(err, new(*verify.Failure)) || !strings.Contains(err.Error(), "unit 1") {
					t.Errorf("its unit 1: %v", err)
				}
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not name %q", err, want)
				}
			}
		})
	}
}

func TestDraw(t *testing.T) {
	_, a := audit(t, testrun.Script{}, 1)
	const golden = "262cc753676333cc5f71a678c37728265fb6e0ee59e5f6c383307d7594dd8277: round 5, member 2, unit 0"
	seed := replay.NewSeed(a.Evidence.Root)
	covered, _ := a.Covered()
	got := fmt.Sprintf("%s: round %d, member %d, unit %d", a.Evidence.Root, seed.Round(covered), seed.Member(3), seed.Unit(2))
	if got != golden {
		t.Errorf("drew %s, want %s", got, golden)
	}
}
