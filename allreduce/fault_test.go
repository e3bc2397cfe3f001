package allreduce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// place is a moment in one member's ring: just before the last piece of a step
// is sent or received.
type place struct {
	phase   Phase
	step    int
	sending bool
}

func (p place) String() string {
	return fmt.Sprintf("%s %d, sending %v", p.phase, p.step, p.sending)
}

// places lists every one for a ring of n.
func places(n int) (all []place) {
	for _, phase := range []Phase{ReduceScatter, AllGather} {
		for step := range n - 1 {
			all = append(all, place{phase, step, true}, place{phase, step, false})
		}
	}
	return all
}

// faulty is a Link that calls fault at one place and fails there if it errs. It
// keeps the contract: fault is told when the link is closed.
type faulty struct {
	Link
	at     place
	fault  func(closed <-chan struct{}) error
	once   sync.Once
	closed chan struct{}
}

func (f *faulty) Send(frame Frame) error {
	if f.at == (place{frame.Phase, frame.Step, true}) {
		if err := f.fault(f.closed); err != nil {
			return err
		}
	}
	return f.Link.Send(frame)
}

func (f *faulty) Recv(want Frame) error {
	if f.at == (place{want.Phase, want.Step, false}) {
		if err := f.fault(f.closed); err != nil {
			return err
		}
	}
	return f.Link.Recv(want)
}

func (f *faulty) Close(reason error) error {
	f.once.Do(func() { close(f.closed) })
	return f.Link.Close(reason)
}

// fault makes the victim's links faulty.
func (c *circle) fault(victim int, at place, fault func(closed <-chan struct{}) error) {
	cfg := &c.configs[victim]
	cfg.Prev = &faulty{Link: cfg.Prev, at: at, fault: fault, closed: make(chan struct{})}
	cfg.Next = &faulty{Link: cfg.Next, at: at, fault: fault, closed: make(chan struct{})}
}

// TestKilledAnywhere kills each member of rings of 2 to 5 at each phase and step:
// every survivor ends by itself, the neighbours blame the victim and nobody
// blames a survivor, summands stay as they were, and a ring of the survivors
// gives exactly their sum.
func TestKilledAnywhere(t *testing.T) {
	for n := 2; n <= 5; n++ {
		v := vectors(n, n*Align+99)
		want := Dumb(v)
		for victim := range n {
			rest := slices.Delete(clone(v), victim, victim+1)
			wantRest := Dumb(rest)
			for _, at := range places(n) {
				synctest.Test(t, func(t *testing.T) {
					c := newCircle(n)
					c.fault(victim, at, func(<-chan struct{}) error {
						c.kill(victim)
						return errors.New("killed")
					})
					checkSurvivors(t, c, v, victim, want)
					again := newCircle(n - 1)
					sums, errs := again.reduce(t.Context(), rest)
					for i := range rest {
						if errs[i] != nil || difference(sums[i], wantRest) >= 0 {
							t.Errorf("the ring without it, rank %d: %v", i, errs[i])
						}
					}
				})
				if t.Failed() {
					t.Fatalf("above: n = %d, rank %d killed at %s", n, victim, at)
				}
			}
		}
	}
}

// checkSurvivors reduces and checks what every member but the victim got.
func checkSurvivors(t *testing.T, c *circle, v [][]float32, victim int, want []float32) {
	t.Helper()
	before, start := clone(v), time.Now()
	sums, errs := c.reduce(t.Context(), v)
	if spent := time.Since(start); spent != 0 {
		t.Errorf("took %v of the fake clock, want nobody to wait out a deadline", spent)
	}
	var failed, named int
	for i, err := range errs {
		if difference(v[i], before[i]) >= 0 {
			t.Errorf("rank %d: its own summand changed", i)
		}
		if i == victim {
			continue
		}
		if err == nil { // what it needed had passed the victim already
			if at := difference(sums[i], want); at >= 0 {
				t.Errorf("rank %d: no error, but element %d differs", i, at)
			}
			continue
		}
		failed++
		var peer *PeerError
		var closed *ClosedError
		switch {
		case !errors.As(err, &peer):
			t.Errorf("rank %d: %v, want a PeerError", i, err)
		case errors.As(err, &closed):
			if closed.Reason != ReasonAborted || !strings.Contains(closed.Text, "lost the link to rank") {
				t.Errorf("rank %d: %v, want who was lost", i, err)
			}
		case peer.Rank != victim:
			t.Errorf("rank %d blames a survivor: %v", i, err)
		default:
			named++
		}
	}
	if failed > 0 && named == 0 {
		t.Errorf("nobody names rank %d: %v", victim, errs)
	}
}

// TestStalled freezes each member of a ring of 3 everywhere. Its neighbours'
// progress says whom they wait for; the caller's abort ends everyone, with the
// caller's cause.
func TestStalled(t *testing.T) {
	const n = 3
	v := vectors(n, n*Align)
	expired := errors.New("the log expired a member")
	for victim := range n {
		for _, at := range places(n) {
			synctest.Test(t, func(t *testing.T) {
				ctx, abort := context.WithCancelCause(t.Context())
				c := newCircle(n)
				c.fault(victim, at, func(closed <-chan struct{}) error {
					<-closed
					return errors.New("thawed")
				})
				last := make([]Progress, n)
				for i := range n {
					c.configs[i].Progress = func(p Progress) { last[i] = p }
				}
				go func() {
					synctest.Wait() // until nothing moves any more
					for i, p := range last {
						if i != victim && p.Waiting == i {
							t.Errorf("rank %d waits for itself", i)
						}
					}
					if next := (victim + 1) % n; !at.sending && at.phase == ReduceScatter && last[next].Waiting != victim {
						t.Errorf("%s: rank %d waits for %d, want the stalled %d", at, next, last[next].Waiting, victim)
					}
					abort(expired)
				}()
				start := time.Now()
				_, errs := c.reduce(ctx, v)
				for i, err := range errs {
					var peer *PeerError
					if err != nil && !errors.Is(err, expired) && !errors.As(err, &peer) {
						t.Errorf("rank %d: %v, want the abort's cause", i, err)
					}
				}
				if errs[victim] == nil && at.phase == ReduceScatter {
					t.Errorf("the stalled rank %d at %s returned no error", victim, at)
				}
				if spent := time.Since(start); spent > 2*closeGrace {
					t.Errorf("%s: took %v of the fake clock", at, spent)
				}
			})
			if t.Failed() {
				t.Fatalf("above: rank %d stalled at %s", victim, at)
			}
		}
	}
}

// TestDeadline has a member that never comes at all.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, src := newCircle(3), vectors(1, 3*Align)[0]
		start := time.Now()
		err := Reduce(ctx, c.configs[0], make([]float32, len(src)), src)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if spent := time.Since(start); spent < time.Minute || spent > time.Minute+2*closeGrace {
			t.Errorf("returned after %v, want a minute and the grace of a close", spent)
		}
	})
}

// TestAbortIsHeard aborts one member only: the others hear its cause and end.
func TestAbortIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, abort := context.WithCancelCause(t.Context())
		abort(errors.New("round 7 attempt 2 was aborted"))
		c, src := newCircle(2), vectors(1, 3*Align)[0]
		first := make(chan error, 1)
		go func() { first <- Reduce(ctx, c.configs[0], make([]float32, len(src)), src) }()
		err := Reduce(t.Context(), c.configs[1], make([]float32, len(src)), src)
		var peer *PeerError
		var closed *ClosedError
		if !errors.As(err, &peer) || peer.Rank != 0 || !errors.As(err, &closed) ||
			closed.Reason != ReasonAborted || closed.Text != "round 7 attempt 2 was aborted" {
			t.Errorf("the other member got %v, want the cause in rank 0's words", err)
		}
		if err := <-first; !errors.Is(err, context.Cause(ctx)) {
			t.Errorf("the aborted member got %v, want its cause", err)
		}
	})
}
