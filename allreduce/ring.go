package allreduce

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/allmend-network/allmend/allreduce/codec"
)

// Config is one member's place in a ring. Every field but Progress is needed,
// save that a ring of one has no links.
type Config struct {
	// Rank is this member's index in the ring's list of N contributors.
	Rank, N int
	// Prev carries vectors from rank Rank-1, Next to rank Rank+1, modulo N.
	// Reduce owns both and closes them before it returns.
	Prev, Next Link
	// Codec is the run's; every member must use the same.
	Codec codec.Codec
	// Progress, if not nil, is called after every piece and before every wait,
	// one call at a time, from Reduce's own goroutines. It must not block.
	Progress func(Progress)

	piece int // elements of a full frame: Piece, save in tests
}

// A PeerError says whose link a ring broke on, and where this member was. Err is
// what the link returned: if it holds a *[ClosedError], the neighbour gave up
// with a reason and is not itself at fault.
type PeerError struct {
	Rank  int // of the neighbour
	Phase Phase
	Step  int // within the phase
	Err   error
}

func (e *PeerError) Error() string {
	return fmt.Sprintf("all-reduce: link to rank %d failed in %s step %d: %v", e.Rank, e.Phase, e.Step, e.Err)
}

func (e *PeerError) Unwrap() error { return e.Err }

// Reduce writes to dst the sum of every member's src, bit for bit as [Dumb]
// defines it. src is only read; dst, of the same length in every member, must
// not overlap it, and holds nothing of use after an error.
//
// It returns a *[PeerError] when a neighbour's link fails, and otherwise, when
// ctx ends first, an error that wraps ctx's cause. Either way both neighbours
// are told why as far as their links allow, and Reduce returns within about a
// second, with all of its goroutines ended. It sets no deadline of its own.
// When the sum is complete it returns nil, whatever happened to the links since.
//
// It panics when shapes or ranks make no sense.
func Reduce(ctx context.Context, cfg Config, dst, src []float32) error {
	switch {
	case cfg.N < 1 || cfg.N > 1<<15 || cfg.Rank < 0 || cfg.Rank >= cfg.N:
		panic("allreduce: no such rank")
	case len(dst) != len(src):
		panic("allreduce: dst and src differ in length")
	case len(dst) > 0 && &dst[0] == &src[0]:
		panic("allreduce: the ring works out of place")
	}
	if cfg.N == 1 {
		copy(dst, src)
		return nil
	}
	return newRing(cfg, dst, src).run(ctx)
}

// ring is one Reduce under way. Of dst, receive writes a piece and hands it to
// send with a token on ready; it writes the piece's place again only after it
// has the token that send put on taken once the partial sum was encoded. Each
// channel has room for all of its tokens, so putting one never blocks.
type ring struct {
	Config
	prev, next int // ranks
	dst, src   []float32

	ready chan struct{} // receive to send: the next piece in order is in dst
	taken chan struct{} // send to receive: the next partial sum in order may be overwritten
	gone  chan struct{} // closed by watch, after it has set why
	why   error         // what Next.Closed returned; read after gone

	mu       sync.Mutex // guards what follows; held during a call of Progress
	progress Progress
	drained  bool // all is received
	flushed  bool // all is sent
}

func newRing(cfg Config, dst, src []float32) *ring {
	if cfg.piece == 0 {
		cfg.piece = Piece
	}
	tokens := 2 * (len(dst)/cfg.piece + cfg.N + 1) // at most this many pieces pass in two trips around
	return &ring{
		Config: cfg,
		prev:   (cfg.Rank + cfg.N - 1) % cfg.N,
		next:   (cfg.Rank + 1) % cfg.N,
		dst:    dst,
		src:    src,
		ready:  make(chan struct{}, tokens),
		taken:  make(chan struct{}, tokens),
		gone:   make(chan struct{}),
		progress: Progress{
			Phase:   ReduceScatter,
			Waiting: Nobody,
		},
	}
}

// run starts the other goroutines, receives, and ends them all. The first
// failure is the cause that ctx is cancelled with; later ones are its echo.
func (r *ring) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(aborted)
		r.abort(context.Cause(ctx))
	})

	var group sync.WaitGroup
	var sendErr error
	group.Go(r.watch)
	sent := make(chan struct{})
	group.Go(func() {
		defer close(sent)
		if sendErr = r.send(ctx); sendErr != nil {
			fail(sendErr)
		}
	})
	receiveErr := r.receive()
	if receiveErr != nil {
		fail(receiveErr)
	}
	<-sent
	if stop() {
		r.close(nil, nil)
	} else {
		<-aborted
	}
	group.Wait()

	if sendErr == nil && receiveErr == nil {
		return nil
	}
	cause := context.Cause(ctx)
	var peer *PeerError
	if errors.As(cause, &peer) {
		return cause
	}
	at := r.position()
	return fmt.Errorf("all-reduce aborted in %s step %d: %w", at.Phase, at.Step, cause)
}

// steps is the number of steps of both phases.
func (r *ring) steps() int { return 2 * (r.N - 1) }

// pieces yields the bounds of the pieces of chunk c > -2N, modulo N.
func (r *ring) pieces(c int) iter.Seq2[int, int] {
	lo, hi := Bounds(len(r.dst), r.N, (c+2*r.N)%r.N)
	return pieces(lo, hi, r.piece)
}

// at splits step t of 0 … 2n-3 into the phase and the step within it.
func (r *ring) at(t int) (Phase, int) {
	if t < r.N-1 {
		return ReduceScatter, t
	}
	return AllGather, t - (r.N - 1)
}

// send sends chunk Rank-t in step t, each piece once it is ready: in step 0 the
// member's own summands, then what receive got in the step before.
func (r *ring) send(ctx context.Context) error {
	buf := make([]byte, r.Codec.Size(min(r.piece, len(r.src))))
	for t := range r.steps() {
		phase, step := r.at(t)
		from := r.dst
		if t == 0 {
			from = r.src
		}
		for lo, hi := range r.pieces(r.Rank - t) {
			if t > 0 {
				select {
				case <-r.ready:
				case <-r.gone:
					return r.lostNext(phase, step, r.why)
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			payload := buf[:r.Codec.Size(hi-lo)]
			r.Codec.Encode(payload, from[lo:hi])
			if 0 < t && t < r.N-1 {
				r.taken <- struct{}{}
			}
			if err := r.Next.Send(Frame{phase, step, lo, payload}); err != nil {
				return r.lostNext(phase, step, err)
			}
			r.sent(len(payload))
		}
	}
	r.sentAll()
	return nil
}

// receive receives chunk Rank-1-t in step t. In the first phase it adds the
// member's own summand; what comes in the last step has been everywhere.
func (r *ring) receive() error {
	buf := make([]byte, r.Codec.Size(min(r.piece, len(r.dst))))
	for t := range r.steps() {
		phase, step := r.at(t)
		for lo, hi := range r.pieces(r.Rank - 1 - t) {
			r.wait(phase, step)
			payload := buf[:r.Codec.Size(hi-lo)]
			if err := r.receivePiece(t, Frame{phase, step, lo, payload}, r.dst[lo:hi]); err != nil {
				return &PeerError{r.prev, phase, step, err}
			}
			if phase == ReduceScatter {
				add(r.dst[lo:hi], r.src[lo:hi])
			}
			if t < r.steps()-1 {
				r.ready <- struct{}{}
			}
			r.received(len(payload))
		}
	}
	r.receivedAll()
	return nil
}

// receivePiece receives the frame of step t into dst. From step N on, dst still
// holds the partial sum that this member sent in step t-N+1, which the piece
// contains: a piece that comes before that was even encoded is made up.
func (r *ring) receivePiece(t int, want Frame, dst []float32) error {
	if err := r.Prev.Recv(want); err != nil {
		return err
	}
	if t >= r.N {
		select {
		case <-r.taken:
		default:
			return &FrameError{"step, before this member's summand was sent,", uint64(want.Step), 0}
		}
	}
	return r.Codec.Decode(dst, want.Payload)
}

// watch waits for what Next has to say, which while pieces are still to be sent
// can only be that it gave up. Closing Next cuts off a Send it no longer reads; a
// Send whose every byte it has read, since it closes when it is done, succeeds.
func (r *ring) watch() {
	r.why = r.Next.Closed()
	close(r.gone)
	var bad *FrameError
	if errors.As(r.why, &bad) {
		r.Next.Close(bad)
	} else {
		r.Next.Close(nil)
	}
}

// lostNext names the next member, by its own word if it left one.
func (r *ring) lostNext(p Phase, step int, err error) error {
	r.Next.Close(nil)
	<-r.gone
	var word *ClosedError
	var bad *FrameError
	if errors.As(r.why, &word) || errors.As(r.why, &bad) {
		err = r.why
	}
	return &PeerError{r.next, p, step, err}
}

// abort closes both links. A neighbour that sent a bad frame hears which, the
// other only whose link was lost: transport errors may hold addresses.
func (r *ring) abort(cause error) {
	var peer *PeerError
	if !errors.As(cause, &peer) {
		r.close(cause, cause)
		return
	}
	lost := fmt.Errorf("rank %d lost the link to rank %d in %s step %d", r.Rank, peer.Rank, peer.Phase, peer.Step)
	toPrev, toNext := lost, lost
	var bad *FrameError
	if errors.As(peer.Err, &bad) {
		if peer.Rank == r.prev {
			toPrev = bad
		}
		if peer.Rank == r.next {
			toNext = bad
		}
	}
	r.close(toPrev, toNext)
}

// close closes both links at once, each with its reason or none. What they
// answer no longer matters: the sum is complete or the attempt is lost.
func (r *ring) close(toPrev, toNext error) {
	var group sync.WaitGroup
	group.Go(func() { r.Prev.Close(toPrev) })
	group.Go(func() { r.Next.Close(toNext) })
	group.Wait()
}
