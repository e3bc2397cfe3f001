package demo

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

func address(n byte) identity.Address { return identity.Address{19: n} }

var someNames = names{address(1): "node-1", address(2): "node-2", address(3): "node-3", address(9): "coordinator-2"}

var somePicture = picture{
	Status: "running", Phase: "reduce", Round: 8, Attempt: 2, Step: 6, Leader: address(9), Loss: 5.25, Targets: 6020,
	Ring: []identity.Address{address(2), address(3), address(1)},
	Members: []member{
		{Address: address(1), Phase: "reduce-scatter", Step: 1, Waiting: address(3)},
		{Address: address(2), Expired: true},
		{Address: address(3)},
	},
}

func someStage() stage {
	return stage{names: someNames, rounds: 24, losses: []float64{7.6, 7.0, 6.1, 5.25}, speed: 4321.5, survived: 1, doing: "node-3 is frozen"}
}

const wantScreen = `
  round    6 of 24  [######..................]  reduce, ring 2
  loss     5.250  █▆▃▁
  speed    4,321 tokens/s
  ring     node-2 → node-3 → node-1 → node-2
  leader   coordinator-2
  faults   1 survived
  node-1   reduce-scatter 1, waits for node-3
  node-2   away
  node-3   no report yet
  ! node-3 is frozen`

func TestScreen(t *testing.T) {
	g := someStage()
	if got := strings.Join(g.screen(somePicture), "\n"); got != wantScreen {
		t.Errorf("screen\n%s\nwant\n%s", got, wantScreen)
	}
	const line = "  round  6 of 24  loss 5.250   4,321 tokens/s  3 members  ring node-2 → node-3 → node-1 → node-2  leader coordinator-2"
	if got := g.line(somePicture); got != line {
		t.Errorf("line\n%s\nwant\n%s", got, line)
	}
	paused := picture{Status: "paused", Reason: "1 of 2 members", Phase: "gather"}
	if got := strings.Join((&stage{rounds: 3}).screen(paused), "\n"); !strings.Contains(got, "paused: 1 of 2 members") || !strings.Contains(got, "leader   nobody") {
		t.Errorf("screen of a paused run:\n%s", got)
	}
}

// TestStoryOnATerminal checks that a screen is taken away before anything else
// is printed, and is no wider than the terminal.
func TestStoryOnATerminal(t *testing.T) {
	var out bytes.Buffer
	s := &story{out: &out, live: true, width: func() int { return 10 }}
	s.show([]string{"one", "a line that is too long"})
	s.say("text")
	s.say("more")
	if want := "one\na line t…\n\x1b[2A\x1b[J  text\n  more\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestStoryAsJSON(t *testing.T) {
	var out bytes.Buffer
	s := &story{out: &out, json: true, live: true}
	s.say("a %q", "b")
	s.show([]string{"nothing of this"})
	s.tell("fault", fault{What: "was killed", Victim: "node-1", Recovery: 1.26}, "not this")
	want := `{"event":"line","value":{"text":"a \"b\""}}
{"event":"fault","value":{"what":"was killed","victim":"node-1","round":0,"step":0,"recovery_seconds":1.3,"back_seconds":0.0}}
`
	if out.String() != want {
		t.Errorf("%s, want %s", out.String(), want)
	}
}

const wantReport = `  run         7f3a
  rounds      24 closed, by 4 members; trained on 147,456 tokens
  loss        7.640 in the first round, 4.500 in the last; ln V = 7.625
  held back   7.641 before, 4.610 after, on 18,143 tokens of pages never trained on; their unigram entropy is 6.830
  planted     3 of 3 things planted in the web became what they had to
  not applied licence, toxicity: nobody has filtered these shards for that
  faults      node-1 was killed (-9) in round 4, ring 1, the others standing at reduce-scatter, step 1; the round was closed 2.5 s later; took part 3.0 s after its start
              node-4 joined late in round 9; took part 1.5 s after its start
  verified    run  117 records
  forgeries   12 made, every one refused by name
  cost        88 s, 1024 MiB of memory at most over all processes
  it writes   The[village met]

  ok   planted: 3 of 3
  FAIL verify: no

  left here   checkpoint        demo/checkpoint
              logs              demo/logs

  Next:
    allmend verify
`

func TestReport(t *testing.T) {
	r := report{
		Checks: []check{{"planted", true, "3 of 3"}, {"verify", false, "no"}}, Run: "7f3a", Rounds: 24, Members: 4, Tokens: 147456,
		Losses:  losses{7.625, 7.64, 4.5, 18143, 7.641, 4.61, 6.83},
		Planted: []tally{{"pages", 1, 1}, {"addresses", 2, 2}}, NotApplied: []string{"licence", "toxicity"},
		Faults: []fault{
			{What: "was killed (-9)", Victim: "node-1", Round: 4, Attempt: 1, Phase: "reduce-scatter", Step: 1, Recovery: 2.5, Back: 3},
			{What: "joined late", Victim: "node-4", Round: 9, Back: 1.5},
		},
		Verified: []string{"run  117 records"}, Forgeries: 12, Prompt: "The", Text: " village\nmet", Folder: "demo", Kept: true,
		Artifacts: []artifact{{"checkpoint", "demo/checkpoint"}, {"logs", "demo/logs"}}, Seconds: 88, PeakBytes: 1 << 30, Next: []string{"allmend verify"},
	}
	if got := r.text(); got != wantReport {
		t.Errorf("report\n%s\nwant\n%s", got, wantReport)
	}
	r.Kept, r.Artifacts = false, nil
	if got := r.text(); !strings.Contains(got, "left here   nothing: demo is removed now\n\n  Next:\n") {
		t.Errorf("report of a folder that is not kept:\n%s", got)
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(ports))); len(distinct) != 20 {
		t.Errorf("20 ports asked for, %d different ones given", len(distinct))
	}
}

func TestRefused(t *testing.T) {
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "run.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"is not empty: a demo never works in a folder that another left; choose a new folder": func(o *Options) { o.Dir = used },
		"--nodes 1: want 2 to 6":               func(o *Options) { o.Nodes = 1 },
		"--coordinators 2: want 1, 3 or 5":     func(o *Options) { o.Coordinators = 2 },
		"--rounds 3: want 12":                  func(o *Options) { o.Rounds = 3 },
		"--input /no/such/file: stat /no/such": func(o *Options) { o.Inputs = []string{"/no/such/file"} },
	} {
		opt := Defaults()
		opt.Stdout, opt.Stderr = io.Discard, io.Discard
		change(&opt)
		err := Run(t.Context(), opt)
		if !errors.As(err, new(*UsageError)) || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q", err, name)
		}
	}
	if entries, err := os.ReadDir(used); err != nil || len(entries) != 1 {
		t.Errorf("the folder was touched: %v, %v", entries, err)
	}
}

func TestHeldBackEntropy(t *testing.T) {
	h := heldBack{windows: [][]int32{{1, 7, 7, 8}, {8, 8, model.EndOfText, 1}}}
	h.count()
	// Labels 7, 7, 8, 8, </s>; the <s> behind it does not count.
	want := -(2*0.4*math.Log(0.4) + 0.2*math.Log(0.2))
	if h.tokens != 5 || math.Abs(h.unigram-want) > 1e-12 {
		t.Errorf("%d tokens, entropy %v, want 5 and %v", h.tokens, h.unigram, want)
	}
}

// TestRecount checks that a sample trained on twice, or lost, is seen.
func TestRecount(t *testing.T) {
	round := func(contributors []identity.Address, spans ...run.Span) verify.Round {
		roster := []identity.Address{address(1), address(2)}
		return verify.Round{Open: run.Open{Roster: roster, Spans: spans}, Closed: run.Closed{Contributors: contributors, Targets: 2, Loss: math.Float32bits(5)}}
	}
	span := func(member int, start, end uint64) run.Span {
		return run.Span{Member: member, Ranges: []run.Range{{Start: start, End: end}}}
	}
	both, one := []identity.Address{address(1), address(2)}, []identity.Address{address(1)}
	sound := []verify.Round{
		round(one, span(0, 0, 4), span(1, 4, 8)), // the second did not contribute
		round(both, span(0, 4, 8), span(1, 8, 12)),
	}
	for name, test := range map[string]struct {
		rounds []verify.Round
		ledger run.Ledger
		want   string
	}{
		"sound":   {sound, run.Ledger{Cursor: 12}, ""},
		"waiting": {sound[:1], run.Ledger{Cursor: 8, Free: []run.Range{{Start: 4, End: 8}}}, ""},
		"twice":   {append(sound[:2:2], round(one, span(0, 5, 6))), run.Ledger{Cursor: 12}, "sample 5 was trained on 2 times"},
		"lost":    {sound[:1], run.Ledger{Cursor: 8}, "sample 4 was dealt, never trained on"},
		"skipped": {sound, run.Ledger{Cursor: 14}, "sample 12 was left out"},
		"both":    {sound, run.Ledger{Cursor: 12, Free: []run.Range{{Start: 0, End: 1}}}, "sample 0 was trained on and is still to be dealt"},
	} {
		c, err := recountLog(&verify.Evidence{Rounds: test.rounds, View: state.View{Ledger: test.ledger}, Spec: run.Spec{Sequence: 10}})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
		if name == "sound" && (c.Samples != 12 || c.Tokens != 120 || c.Returned != 4 || c.Waiting != 0 || c.First != 2.5) {
			t.Errorf("%s: %+v", name, c)
		}
		if name == "waiting" && c.Waiting != 4 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
