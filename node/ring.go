package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/allmend-network/allmend/allreduce"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// ringID carries a member's stream to the next one in a ring; after the hellos
// every byte is package allreduce's.
const ringID = protocol.ID("/allmend/1/ring")

const (
	ringTimeout = 2 * time.Minute // for a read; the leader's watchdog is far sooner
	ringParked  = 30 * time.Second
	ringDial    = 3 * time.Second // to learn where the next member is
	ringAgain   = 200 * time.Millisecond
)

// rings routes streams of previous members to the ring that waits for them. A
// stream of the past is refused; one of the future, whose log is ahead of
// ours, is parked, one for each neighbour.
type rings struct {
	mu     sync.Mutex // guards the fields below
	want   *waiting
	last   allreduce.Hello // of the ring that was joined last
	parked map[identity.Address]*arrival
}

// waiting is a ring that needs the stream of its previous member.
type waiting struct {
	hello allreduce.Hello // that must come
	from  identity.Address
	got   chan *arrival
}

// arrival is a stream past its hello. Whoever takes it closes done when the
// stream is over.
type arrival struct {
	*stream
	hello allreduce.Hello
	done  chan struct{}
	stale *time.Timer // refuses it while it is parked
}

func newRings() *rings { return &rings{parked: map[identity.Address]*arrival{}} }

// serveRing hands streams to rings.
func (h *Host) serveRing(r *rings) {
	h.handle(ringID, RoleMember, func(ctx context.Context, s *stream) error {
		hello, err := allreduce.ReadHello(s)
		if err != nil {
			return err
		}
		a := &arrival{stream: s, hello: hello, done: make(chan struct{})}
		if err := r.arrive(a); err != nil {
			return err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
		}
		return nil
	})
}

// arrive delivers, parks or refuses a stream.
func (r *rings) arrive(a *arrival) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.want; w != nil {
		err := a.hello.Match(w.hello)
		var differs *allreduce.HelloError
		switch {
		case err == nil && a.peer == w.from:
			r.want = nil
			w.got <- a
			return nil
		case err == nil:
			err = &allreduce.HelloError{Reason: allreduce.ReasonOtherRing, Got: a.hello, Want: w.hello}
			return errors.Join(err, a.link().Close(err))
		case errors.As(err, &differs) && differs.Reason != allreduce.ReasonFuture:
			return errors.Join(err, a.link().Close(err))
		}
	} else if a.hello.Round < r.last.Round || a.hello.Round == r.last.Round && a.hello.Attempt <= r.last.Attempt {
		err := &allreduce.HelloError{Reason: allreduce.ReasonPast, Got: a.hello, Want: r.last}
		return errors.Join(err, a.link().Close(err))
	}
	r.park(a)
	return nil
}

// park keeps a stream of the future until its ring begins; mu is held.
func (r *rings) park(a *arrival) {
	if old := r.parked[a.peer]; old != nil && old.stale.Stop() {
		old.refuse(errors.New("replaced by a newer stream"))
	}
	r.parked[a.peer] = a
	a.stale = time.AfterFunc(ringParked, func() {
		r.mu.Lock()
		if r.parked[a.peer] == a {
			delete(r.parked, a.peer)
		}
		r.mu.Unlock()
		a.refuse(&allreduce.HelloError{Reason: allreduce.ReasonFuture, Got: a.hello, Want: r.latest()})
	})
}

func (r *rings) latest() allreduce.Hello {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// refuse closes a stream that nobody waits for.
func (a *arrival) refuse(why error) {
	a.link().Close(why)
	close(a.done)
}

// await returns where the stream of a ring's previous member will come. The
// caller calls forget when it no longer waits.
func (r *rings) await(own, want allreduce.Hello, from identity.Address) *waiting {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &waiting{hello: want, from: from, got: make(chan *arrival, 1)}
	r.last = own
	if a := r.parked[from]; a != nil && a.stale.Stop() {
		delete(r.parked, from)
		if err := a.hello.Match(want); err == nil {
			w.got <- a
			return w
		} else {
			a.refuse(err)
		}
	}
	r.want = w
	return w
}

// forget ends an await; a stream that came meanwhile is refused.
func (r *rings) forget(w *waiting) {
	r.mu.Lock()
	if r.want == w {
		r.want = nil
	}
	r.mu.Unlock()
	select {
	case a := <-w.got:
		a.refuse(errors.New("this member left the ring"))
	default:
	}
}

// link returns the stream as a ring's link.
func (s *stream) link() allreduce.Link { return allreduce.NewLink(ringStream{s.Stream}) }

// ringStream gives reads a deadline. A link sets those of its writes itself
// when it closes; until then a neighbour that does not take what is sent is
// the watchdog's business.
type ringStream struct{ network.Stream }

func (s ringStream) Read(b []byte) (int, error) {
	if err := s.SetReadDeadline(time.Now().Add(ringTimeout)); err != nil {
		return 0, err
	}
	return s.Stream.Read(b)
}

// neighbourError says which neighbour could not be reached.
type neighbourError struct {
	neighbour identity.Address
	err       error
}

func (e *neighbourError) Error() string {
	return fmt.Sprintf("ring: member %s: %v", e.neighbour, e.err)
}

func (e *neighbourError) Unwrap() error { return e.err }

// reduce joins one ring: it opens the stream to the next member, awaits that of
// the previous, and reduces src into dst. It returns a *neighbourError or an
// *allreduce.PeerError when a neighbour is to blame.
func (h *Host) reduce(ctx context.Context, r *rings, own allreduce.Hello, contributors []identity.Address, cfg allreduce.Config, dst, src []float32) error {
	n := len(contributors)
	cfg.Rank, cfg.N = int(own.Rank), n
	if n == 1 {
		return allreduce.Reduce(ctx, cfg, dst, src)
	}
	before, after := contributors[(cfg.Rank+n-1)%n], contributors[(cfg.Rank+1)%n]
	want := own
	want.Rank = uint32((cfg.Rank + n - 1) % n)
	w := r.await(own, want, before)
	defer r.forget(w)
	waiting := func(rank int) {
		if cfg.Progress != nil {
			cfg.Progress(allreduce.Progress{Phase: allreduce.ReduceScatter, Waiting: rank})
		}
	}
	waiting((cfg.Rank + 1) % n)
	next, err := h.join(ctx, after, own)
	if err != nil {
		return err
	}
	cfg.Next = next
	waiting(int(want.Rank))
	select {
	case a := <-w.got:
		defer close(a.done)
		cfg.Prev = a.link()
	case <-ctx.Done():
		return errors.Join(ctx.Err(), next.Close(errors.New("the ring was given up")))
	}
	return allreduce.Reduce(ctx, cfg, dst, src)
}

// join opens the stream to the next member and says hello. Where that member is
// may have to be asked first.
func (h *Host) join(ctx context.Context, next identity.Address, own allreduce.Hello) (allreduce.Link, error) {
	deadline := time.Now().Add(ringDial)
	for {
		_, known := h.book.Find(next)
		s, err := h.dial(ctx, next, ringID)
		if err == nil {
			if err = allreduce.WriteHello(s.Stream, own); err == nil {
				return s.link(), nil
			}
			s.Reset()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if known || time.Now().After(deadline) {
			return nil, &neighbourError{next, err}
		}
		asking, cancel := context.WithTimeout(ctx, ringDial/2)
		h.IntroduceAll(asking)
		cancel()
		select {
		case <-time.After(ringAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
