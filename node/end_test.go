package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/allmend-network/allmend/verify/testrun"
)

// TestLateAtTheEnd starts a member again when the run has just finished without
// it: the others wait until it has what they have.
func TestLateAtTheEnd(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, func(spec *run.Spec) { spec.Rounds = 6 })
	s.found()
	for _, k := range s.made.Members {
		s.node(s.config(k))
	}
	victim := s.made.Members[1]
	s.wait("round 2", func(v state.View) bool { return v.Round >= 2 })
	s.nodes[victim.Address()].kill()
	s.wait("the end", func(v state.View) bool { return v.Status == state.Finished })
	s.node(s.config(victim))
	s.end()
}

// TestStranded starts a member that has lost its disk when nobody is left that
// has what it needs: it ends, and says why.
func TestStranded(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, func(spec *run.Spec) { spec.Rounds = 2 })
	s.stay = true
	s.found()
	for _, k := range s.made.Members {
		s.node(s.config(k))
	}
	s.wait("the end", func(v state.View) bool { return v.Status == state.Finished })
	for _, p := range s.nodes {
		p.kill()
	}
	victim := s.made.Members[1]
	if err := os.RemoveAll(s.config(victim).Dir); err != nil {
		t.Fatal(err)
	}
	n, err := Open(s.config(victim))
	if err != nil {
		t.Fatal(err)
	}
	n.patience = 2 * lookEvery
	late := start(s.ctx, n)
	select {
	case <-late.done:
	case <-s.ctx.Done():
		late.kill()
		t.Fatal("it goes on asking")
	}
	if late.err == nil || !strings.Contains(late.err.Error(), "is finished, and nobody serves what this node still needs") {
		t.Errorf("it ended with: %v", late.err)
	}
}

// lines is what was logged.
type lines struct {
	mu    sync.Mutex // guards text
	text  bytes.Buffer
	wrote chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.text.Write(b)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// TestKeyThatIsNoMember demands that whoever is not admitted hears what to do.
func TestKeyThatIsNoMember(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, nil)
	s.found()
	stranger := testrun.Key("not admitted")
	log := &lines{wrote: make(chan struct{}, 1)}
	cfg := s.config(stranger)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	s.node(cfg)
	for !log.has("allmend members admit " + stranger.Address().String()) {
		select {
		case <-log.wrote:
		case <-s.ctx.Done():
			t.Fatal("it hears nothing")
		}
	}
}

// TestDoubt plays what a followed coordinator says of itself.
func TestDoubt(t *testing.T) {
	leader := identity.Address{1}
	for _, test := range []struct {
		name    string
		applied uint64
		says    []followStatus
		leaves  bool
	}{
		{"it is well", 7, []followStatus{{7, leader, false}, {7, leader, false}, {7, leader, false}, {7, leader, false}}, false},
		{"it is alone", 7, []followStatus{{7, leader, false}, {7, identity.Address{}, false}, {7, identity.Address{}, false}, {7, identity.Address{}, false}}, true},
		{"an election", 7, []followStatus{{7, identity.Address{}, false}, {7, identity.Address{}, false}, {7, leader, false}, {7, identity.Address{}, false}}, false},
		{"it holds back", 9, []followStatus{{7, leader, false}, {8, leader, false}, {8, leader, false}}, true},
		{"it is slow", 9, []followStatus{{7, leader, false}, {8, leader, false}, {9, leader, false}, {9, leader, false}}, false},
	} {
		var applied atomic.Uint64
		applied.Store(test.applied)
		d := doubt{applied: &applied}
		left := false
		for _, s := range test.says {
			left = left || d.take(s) != nil
		}
		if left != test.leaves {
			t.Errorf("%s: left %v", test.name, left)
		}
	}
}

// TestOver asks a coordinator who is waited for when the run is finished.
func TestOver(t *testing.T) {
	finished := time.Unix(1000, 0)
	after := func(s int) time.Time { return finished.Add(time.Duration(s) * time.Second) }
	a, b := identity.Address{1}, identity.Address{2}
	v := state.View{Members: []state.Member{{Address: a}, {Address: b}}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &Coordinator{host: &Host{ctx: ctx}}
	here := coordinator.Progress{Phase: phaseFinished}
	busy := coordinator.Progress{Phase: phaseApply}
	for _, test := range []struct {
		name string
		b    Report
		at   int
		want bool
	}{
		{"both are there", Report{here, after(4), after(4)}, 4, true},
		{"one is at work", Report{busy, after(4), after(4)}, 4, false},
		{"one is at work, for long", Report{busy, after(600), after(590)}, 600, false},
		{"one stands still", Report{busy, after(600), after(560)}, 600, true},
		{"one has gone, just now", Report{busy, after(1), after(1)}, 4, false},
		{"one has gone", Report{busy, after(1), after(1)}, 7, true},
		{"one was gone before", Report{}, 4, false},
		{"one was gone before, long ago", Report{}, 6, true},
		{"one has always something to do", Report{busy, after(3601), after(3601)}, 3601, true},
	} {
		c.reports = map[identity.Address]Report{a: {here, after(test.at), after(1)}, b: test.b}
		if got := c.over(v, finished, after(test.at)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
