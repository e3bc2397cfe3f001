package state_test

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden traces in testdata; understand the difference before you commit it")

// A script in testdata is a list of commands, each followed by its trace,
// indented. The commands:
//
//	new coordinators=3 members=3 KEY=N...  a run whose coordinators c1… have not accepted yet
//	accept c1...
//	ready m1... [round=N] [attempt=N] [state=NAME]
//	commit m1... [round=N] [state=NAME] [work=NAME] [targets=N] [rejected=0,1]
//	result m1... [round=N] [attempt=N] [reduced=NAME]
//	fault m1 accused=m2
//	expire c1 accused=m2 [round=N] [attempt=N] [size=N] [reason=TEXT]
//	checkpoint m1... c1... [round=N] [state=NAME] [manifest=NAME]
//	control ACTION c1... [number=N]        one statement with all these signatures
//	rewind ROUND c1... [manifest=NAME]
//	member ACTION ROLE SUBJECT [SUCCESSOR] by=c1,c2
//	head c1 [root=NAME]
//	again                                  the last statement once more
//	keep NAME, replay NAME                 the last statement, and that again later
//	view
//
// Names in state=, work=, reduced= and manifest= stand for the digest of the
// name. Without state=, it is that of the state the last command with one named.
type script struct {
	t     *testing.T
	spec  run.Spec
	m     *state.Machine
	log   [][]byte
	names map[string]string // hexadecimal to name
	state string
	last  run.Signed
	bytes map[string]run.Signed // what was kept to be replayed
	kept  []byte                // snapshot of m
	out   strings.Builder
}

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
			s := &script{t: t, names: map[string]string{}, bytes: map[string]run.Signed{}}
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				if strings.HasPrefix(line, "\t") {
					continue
				}
				got.WriteString(line)
				if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
					continue
				}
				s.out.Reset()
				s.do(strings.Fields(line))
				for l := range strings.Lines(s.out.String()) {
					got.WriteString("\t" + l)
				}
			}
			s.replay()
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

// args are a command's plain words and its KEY=VALUE words.
type args struct {
	words []string
	set   map[string]string
}

func (a args) text(key, otherwise string) string {
	if v, ok := a.set[key]; ok {
		return v
	}
	return otherwise
}

func (a args) number(key string, otherwise uint64) uint64 {
	if v, ok := a.set[key]; ok {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	return otherwise
}

func (s *script) do(line []string) {
	a := args{set: map[string]string{}}
	for _, w := range line[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			a.set[k] = v
		} else {
			a.words = append(a.words, w)
		}
	}
	if line[0] == "new" {
		s.new(a)
		return
	}
	v := s.m.View()
	round, attempt := a.number("round", v.Round), a.number("attempt", v.Attempt)
	s.state = a.text("state", s.state)
	root := s.sum(s.state)
	switch line[0] {
	case "accept":
		s.each(a.words, func(string) run.Statement { return run.Accept{Spec: s.m.ID()} })
	case "ready":
		s.each(a.words, func(string) run.Statement { return run.Ready{Round: round, Attempt: attempt, State: root} })
	case "commit":
		s.each(a.words, func(who string) run.Statement {
			return run.Commit{
				Round: round, State: root, Contribution: s.sum(a.text("work", "work-"+who)), Units: s.sum("units-" + who),
				Targets: a.number("targets", 10), Loss: math.Float32bits(2.5), Rejected: a.text("rejected", ""),
			}
		})
	case "result":
		s.each(a.words, func(string) run.Statement {
			return run.Result{
				Round: round, Attempt: attempt, Contributors: run.ContributorsDigest(round, attempt, v.Contributors),
				Reduced: s.sum(a.text("reduced", "sum")),
			}
		})
	case "fault":
		s.each(a.words, func(string) run.Statement {
			return run.Fault{Round: round, Attempt: attempt, Accused: s.address(a.set["accused"]), Phase: "gather", Step: 1}
		})
	case "expire":
		s.each(a.words, func(string) run.Statement {
			return run.Expire{Round: round, Attempt: attempt, Size: a.number("size", v.LogSize), Accused: s.address(a.set["accused"]), Reason: a.text("reason", "silent")}
		})
	case "checkpoint":
		at := a.number("round", v.Last.Round)
		s.each(a.words, func(string) run.Statement {
			return run.Checkpoint{Round: at, Manifest: s.sum(a.text("manifest", "manifest-"+s.state)), State: root}
		})
	case "again":
		s.apply(s.last)
	case "keep":
		s.bytes[a.words[0]] = s.last
	case "replay":
		s.apply(s.bytes[a.words[0]])
	case "view":
		s.view()
	default:
		s.doVote(line[0], a, v)
	}
}

func (s *script) doVote(command string, a args, v state.View) {
	switch command {
	case "control":
		s.together(a.words[1:], run.Control{Number: a.number("number", v.NextControl), Action: a.words[0]})
	case "rewind":
		round, err := strconv.ParseUint(a.words[0], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		var manifest digest.Sum
		if name, ok := a.set["manifest"]; ok {
			manifest = s.sum(name)
		}
		s.together(a.words[1:], run.Rewind{Number: a.number("number", v.NextRewind), Round: round, Manifest: manifest})
	case "member":
		st := run.Member{Number: a.number("number", v.NextMember), Action: a.words[0], Role: a.words[1], Subject: s.address(a.words[2])}
		if len(a.words) > 3 {
			st.Successor = s.address(a.words[3])
		}
		s.together(strings.Split(a.set["by"], ","), st)
	case "head":
		root := v.LogRoot
		if name, ok := a.set["root"]; ok {
			root = s.sum(name)
		}
		s.each(a.words, func(string) run.Statement { return run.Head{Index: v.LogSize, Root: root} })
	default:
		s.t.Fatalf("unknown command %q", command)
	}
}

func (s *script) new(a args) {
	if s.m != nil {
		s.replay()
		s.log = nil
	}
	c, m := int(a.number("coordinators", 1)), int(a.number("members", 3))
	s.spec = testSpec(c, m)
	s.spec.Rounds = int(a.number("rounds", 100))
	s.spec.Checkpoint = int(a.number("checkpoint", 2))
	s.spec.MinMembers = int(a.number("min", 1))
	s.spec.MaxMembers = int(a.number("max", 8))
	s.state = "state-0"
	s.spec.InitialState = s.sum(s.state)
	var err error
	if s.m, err = state.New(s.spec); err != nil {
		s.t.Fatal(err)
	}
	for _, n := range slices.Concat(digits("c", c+2), digits("m", max(m, 6))) {
		s.address(n)
	}
	s.names[run.NoRevocations.String()] = "none"
	s.kept = s.snapshot()
}

func (s *script) sum(name string) digest.Sum {
	d := digest.Of([]byte(name))
	s.names[d.String()] = name
	return d
}

func (s *script) address(name string) identity.Address {
	a := key(name).Address()
	s.names[a.String()] = name
	s.names[a.Short()] = name
	return a
}

// each says one statement after the other.
func (s *script) each(who []string, make func(who string) run.Statement) {
	for _, n := range who {
		s.together([]string{n}, make(n))
	}
}

// together says one statement with several signatures.
func (s *script) together(who []string, st run.Statement) {
	slices.SortFunc(who, func(a, b string) int { return s.address(a).Compare(s.address(b)) })
	signed := run.Signed{Statement: st}
	for _, n := range who {
		g, err := key(n).Sign(s.m.ID(), st)
		if err != nil {
			s.t.Fatal(err)
		}
		signed.Signatures = append(signed.Signatures, g)
	}
	s.apply(signed)
}

func (s *script) apply(signed run.Signed) {
	s.last = signed
	before := s.kept
	entries, err := s.m.Apply(signed)
	if err != nil {
		s.print(err.Error())
	}
	if len(entries) == 0 {
		if after := s.snapshot(); !bytes.Equal(before, after) {
			s.t.Errorf("%s left a trace though nothing was appended", signed.Statement.Kind())
		}
		if err == nil {
			s.print("nothing new")
		}
	}
	for _, e := range entries {
		s.log = append(s.log, e.Bytes)
		if e.Transition == nil {
			continue
		}
		b, err := canonical.Marshal(e.Transition)
		if err != nil {
			s.t.Fatal(err)
		}
		s.print(e.Transition.Name() + " " + string(b))
	}
	s.restore()
}

func (s *script) snapshot() []byte {
	b, err := s.m.Snapshot()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// restore goes on with a machine restored from a snapshot: if the two could
// differ, some trace would.
func (s *script) restore() {
	b := s.snapshot()
	s.kept = b
	m, err := state.Restore(s.spec, b)
	if err != nil {
		s.t.Fatal(err)
	}
	s.m = m
	if !bytes.Equal(b, s.snapshot()) {
		s.t.Error("snapshot of a restored machine differs")
	}
}

// replay applies the whole log to a new machine.
func (s *script) replay() {
	m, err := state.Replay(s.spec, func(yield func([]byte, error) bool) {
		for _, b := range s.log {
			if !yield(b, nil) {
				return
			}
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	size, root := m.Log()
	wantSize, wantRoot := s.m.Log()
	leaves := make([]digest.Sum, len(s.log))
	for i, b := range s.log {
		leaves[i] = digest.Leaf(b)
	}
	if size != wantSize || root != wantRoot || root != digest.Root(leaves) {
		s.t.Errorf("replayed log has %d records with root %s; want %d, %s, and %s by hand", size, root, wantSize, wantRoot, digest.Root(leaves))
	}
}

func (s *script) view() {
	v := s.m.View()
	s.print(fmt.Sprintf("status=%s reason=%q phase=%s round=%d attempt=%d step=%d skips=%d awaited=%v", v.Status, v.Reason, v.Phase, v.Round, v.Attempt, v.Step, v.Skips, v.Awaited))
	s.print(fmt.Sprintf("members=%v coordinators=%v distrusted=%v", v.Members, v.Coordinators, v.Distrusted))
	for _, c := range slices.Concat(v.Signed, v.Due) {
		s.print(fmt.Sprintf("checkpoint round=%d step=%d state=%s members=%d coordinators=%d lost=%v", c.Round, c.Step, c.State, len(c.Members), len(c.Coordinators), c.Lost))
	}
	s.print(fmt.Sprintf("ledger cursor=%d free=%v assigned=%v consumed=%v rejected=%v", v.Ledger.Cursor, v.Ledger.Free, v.Ledger.Assigned, v.Ledger.Consumed, v.Ledger.Rejected))
}

var hexadecimal = regexp.MustCompile(`0x[0-9a-f]{40}|0x[0-9a-f]{8}|[0-9a-f]{64}`)

// print writes a line of the trace with names in place of digests.
func (s *script) print(line string) {
	line = hexadecimal.ReplaceAllStringFunc(line, func(h string) string {
		if n, ok := s.names[h]; ok {
			return n
		}
		return h[:8] + "…"
	})
	fmt.Fprintln(&s.out, line)
}
