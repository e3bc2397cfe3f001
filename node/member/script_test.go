package member_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden traces in testdata; understand the difference before you commit it")

// A script in testdata is a list of commands, each followed by its trace,
// indented: transitions in capitals, then what each member does. After each
// command everybody runs until nothing moves.
//
//	world KEY=N...     coordinators, members, others (keys not in the Spec), rounds, checkpoint, min
//	start m1... [wiped]
//	kill m1...
//	hold m1 JOB...     such jobs do not finish
//	release m1 JOB...
//	pass m1 JOB        the one under way finishes though such jobs are held
//	wrong m1 JOB [N]   the next N (Ring, Apply) give other bits
//	fault m1 m2        m1's ring breaks at m2
//	lose m1            the contribution on its disk
//	notice             neighbours of the dead see broken streams
//	expire m1...
//	retry m1
//	mute c1... / sign  coordinators do not sign checkpoints / sign the one agreed on
//	control ACTION, rewind ROUND, member ACTION SUBJECT [SUCCESSOR]
//	states             what each member holds
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var w *world
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				if strings.HasPrefix(line, "\t") {
					continue
				}
				got.WriteString(line)
				words := strings.Fields(line)
				if len(words) == 0 || words[0][0] == '#' {
					continue
				}
				if words[0] == "world" {
					w = worldOf(t, words[1:])
				}
				w.out.Reset()
				w.command(words[0], words[1:])
				w.settle()
				for l := range strings.Lines(w.out.String()) {
					got.WriteString("\t" + l)
				}
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got.String()), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(want) {
				t.Errorf("trace differs (run with -rewrite to see how):\n%s", firstDifference(got.String(), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

func worldOf(t *testing.T, words []string) *world {
	set := map[string]int{"coordinators": 1, "members": 3, "rounds": 3, "checkpoint": 2, "min": 1}
	for _, word := range words {
		k, v, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		set[k] = n
	}
	return newWorld(t, set["coordinators"], set["members"], set["others"], func(s *run.Spec) {
		s.Rounds, s.Checkpoint, s.MinMembers = set["rounds"], set["checkpoint"], set["min"]
	})
}

func (w *world) command(name string, words []string) {
	v := w.machine.View()
	switch name {
	case "world":
		for _, c := range w.coordinators() {
			w.say(run.Accept{Spec: w.machine.ID()}, c)
		}
	case "start":
		wiped := words[len(words)-1] == "wiped"
		for _, n := range words {
			if n == "wiped" {
				continue
			}
			a := w.actor(n)
			if wiped {
				a.disk = member.Disk{}
			}
			a.start()
		}
	case "kill":
		for _, n := range words {
			w.actor(n).alive = false
			w.actor(n).job = nil
		}
	case "hold", "release":
		for _, job := range words[1:] {
			w.held[words[0]+" "+job] = name == "hold"
		}
	case "pass":
		what := words[0] + " " + words[1]
		w.held[what] = false
		w.actor(words[0]).work()
		w.held[what] = true
	case "wrong":
		n := 1
		if len(words) > 2 {
			n, _ = strconv.Atoi(words[2])
		}
		w.wrong[words[0]+" "+words[1]] = n
	case "fault":
		w.actor(words[0]).fault(key(words[1]).Address())
	case "lose":
		w.actor(words[0]).disk.Vector = false
	case "notice":
		w.notice()
	case "expire":
		for _, n := range words {
			v := w.machine.View()
			w.say(run.Expire{Round: v.Round, Attempt: v.Attempt, Size: v.LogSize, Accused: key(n).Address(), Reason: "silent"}, w.coordinators()[0])
		}
	case "retry":
		a := w.actor(words[0])
		a.do(a.member.Step(member.Retry{}))
	case "mute":
		for _, c := range words {
			w.mute[c] = true
		}
	case "sign":
		clear(w.mute)
		last := v.Due[len(v.Due)-1]
		w.sign(run.Checkpointed{Round: last.Round, Manifest: last.Manifest, State: last.State})
	case "control":
		w.say(run.Control{Number: v.NextControl, Action: words[0]}, w.coordinators()...)
	case "rewind":
		w.rewind(words[0])
	case "member":
		st := run.Member{Number: v.NextMember, Action: words[0], Role: run.RoleMember, Subject: key(words[1]).Address()}
		if len(words) > 2 {
			st.Successor = key(words[2]).Address()
		}
		w.say(st, w.coordinators()...)
	case "states":
		w.states()
	default:
		w.t.Fatalf("unknown command %q", name)
	}
}

func (w *world) rewind(text string) {
	round, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	v := w.machine.View()
	for _, c := range v.Signed {
		if c.Round == round {
			w.say(run.Rewind{Number: v.NextRewind, Round: round, Manifest: c.Manifest}, w.coordinators()...)
		}
	}
}

func (w *world) states() {
	v := w.machine.View()
	w.print("%s %s round %d attempt %d step %d awaited %v", v.Status, v.Phase, v.Round, v.Attempt, v.Step, v.Awaited)
	w.print("ledger cursor=%d free=%v assigned=%v consumed=%v", v.Ledger.Cursor, v.Ledger.Free, v.Ledger.Assigned, v.Ledger.Consumed)
	for _, a := range w.actors {
		w.print("%s alive=%v ended=%v state=%s checkpoints=%v", a.name, a.alive, a.ended, a.root, rounds(a.disk.Checkpoints))
	}
}

func rounds(list []member.Checkpoint) []uint64 {
	out := []uint64{}
	for _, c := range list {
		out = append(out, c.Round)
	}
	return out
}

// describe says in one line what a transition or an action is.
func (w *world) describe(x any) string {
	switch x := x.(type) {
	case run.Open:
		return fmt.Sprintf("OPEN %d step=%d state=%s roster=%v", x.Round, x.Step, x.State, x.Roster)
	case run.Ring:
		return fmt.Sprintf("RING %d.%d %v", x.Round, x.Attempt, x.Contributors)
	case run.Closed:
		return fmt.Sprintf("CLOSED %d.%d step=%d reduced=%s contributors=%v targets=%d checkpoint=%v", x.Round, x.Attempt, x.Step, x.Reduced, x.Contributors, x.Targets, x.Checkpoint)
	case run.Transition:
		return fmt.Sprintf("%s %+v", x.Name(), x)
	case member.Submit:
		return w.describe(x.Statement)
	case run.Ready:
		return fmt.Sprintf("says Ready %d.%d state=%s", x.Round, x.Attempt, x.State)
	case run.Commit:
		return fmt.Sprintf("says Commit %d targets=%d", x.Round, x.Targets)
	case run.Result:
		return fmt.Sprintf("says Result %d.%d reduced=%s", x.Round, x.Attempt, x.Reduced)
	case run.Fault:
		return fmt.Sprintf("says Fault %d.%d accused=%s", x.Round, x.Attempt, x.Accused)
	case run.Checkpoint:
		return fmt.Sprintf("says Checkpoint %d state=%s manifest=%s", x.Round, x.State, x.Manifest)
	case member.Restore:
		return fmt.Sprintf("Restore #%d round=%d local=%v", x.Job, x.Checkpoint.Round, x.Checkpoint.Local)
	case member.FetchReduced:
		return fmt.Sprintf("FetchReduced #%d round=%d %s from=%v", x.Job, x.Round, x.Digest, x.From)
	case member.Apply:
		return fmt.Sprintf("Apply #%d round=%d step=%d reduced=%s observer=%v", x.Job, x.Round, x.Step, x.Reduced, x.Observer)
	case member.Compute:
		return fmt.Sprintf("Compute #%d round=%d ranges=%v", x.Job, x.Round, x.Span.Ranges)
	case member.Ring:
		return fmt.Sprintf("Ring #%d %d.%d rank %d of %d", x.Job, x.Round, x.Attempt, x.Rank, len(x.Contributors))
	case member.WriteCheckpoint:
		return fmt.Sprintf("WriteCheckpoint #%d round=%d step=%d parent=%s log=%d targets=%d", x.Job, x.Round, x.Step, x.Parent, x.LogSize, x.Targets)
	}
	return fmt.Sprintf("%s %+v", kind(x), x)
}

var hexadecimal = regexp.MustCompile(`0x[0-9a-f]{40}|0x[0-9a-f]{8}|[0-9a-f]{64}`)

// print writes a line of the trace, with names for keys and short digests.
func (w *world) print(format string, args ...any) {
	line := hexadecimal.ReplaceAllStringFunc(fmt.Sprintf(format, args...), func(h string) string {
		if n, ok := w.names[h]; ok {
			return n
		}
		if h == (digest.Sum{}).String() {
			return "none"
		}
		return h[:6]
	})
	fmt.Fprintln(&w.out, line)
}
