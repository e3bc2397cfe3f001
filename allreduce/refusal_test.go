package allreduce

import (
	"errors"
	"io"
	"math"
	"net"
	"testing"
	"testing/synctest"

	"github.com/allmend-network/allmend/allreduce/codec"
)

const half = Align / 2 // elements of a piece

// ones is a frame of ones, piece k of chunk c.
func ones(p Phase, c, k int) Frame {
	payload := make([]byte, 4*half)
	x := make([]float32, half)
	for i := range x {
		x[i] = 1
	}
	codec.F32{}.Encode(payload, x)
	return Frame{Phase: p, Step: 0, Offset: c*Align + k*half, Payload: payload}
}

func send(conn net.Conn, frames ...Frame) {
	link := NewLink(conn)
	for _, f := range frames {
		_ = link.Send(f) // the member under test may have refused already
	}
}

// against runs rank 0 of two, whose vector has two chunks of two pieces, against
// a rank 1 that writes what it likes. It returns the member's error and what
// rank 1 reads back on the stream it writes to.
func against(t *testing.T, write func(net.Conn)) (err, told error) {
	synctest.Test(t, func(t *testing.T) {
		in, toMember := net.Pipe()
		out, fromMember := net.Pipe()
		src := make([]float32, 2*Align)
		for i := range src {
			src[i] = 2
		}
		dst := make([]float32, len(src))
		heard := make(chan error, 1)
		go func() { heard <- NewLink(toMember).Closed() }()
		go func() { _, _ = io.Copy(io.Discard, fromMember) }()
		go write(toMember)
		err = Reduce(t.Context(), Config{Rank: 0, N: 2, Prev: NewLink(in), Next: NewLink(out), Codec: codec.F32{}, piece: half}, dst, src)
		told = <-heard
		if err == nil && dst[0] != 3 {
			t.Errorf("element 0 is %v", dst[0])
		}
	})
	return err, told
}

// honest is everything rank 1 has to send: its summand of chunk 1, then chunk 0
// completed (here, just ones).
func honest() []Frame {
	gathered := []Frame{ones(AllGather, 0, 0), ones(AllGather, 0, 1)}
	for _, f := range gathered {
		sum := make([]float32, half)
		for i := range sum {
			sum[i] = 3
		}
		codec.F32{}.Encode(f.Payload, sum)
	}
	return append([]Frame{ones(ReduceScatter, 1, 0), ones(ReduceScatter, 1, 1)}, gathered...)
}

func TestHonestScript(t *testing.T) {
	err, told := against(t, func(c net.Conn) { send(c, honest()...) })
	if err != nil {
		t.Errorf("an honest neighbour was refused: %v", err)
	}
	var closed *ClosedError
	if errors.As(told, &closed) {
		t.Errorf("and told %v", closed)
	}
}

func TestBadFramesAreRefused(t *testing.T) {
	raw := func(h header) func(net.Conn) {
		return func(c net.Conn) { _, _ = c.Write(h.append(nil)) }
	}
	first := ones(ReduceScatter, 1, 0).header()
	change := func(f func(*header)) header {
		h := first
		f(&h)
		return h
	}
	for name, g := range map[string]struct {
		field string
		write func(net.Conn)
	}{
		"a stale frame":       {"phase", func(c net.Conn) { f := honest(); send(c, f[0], f[1], f[0]) }},
		"a duplicate":         {"offset", func(c net.Conn) { f := honest(); send(c, f[0], f[0]) }},
		"out of order":        {"offset", func(c net.Conn) { f := honest(); send(c, f[1], f[0]) }},
		"of the future":       {"phase", func(c net.Conn) { f := honest(); send(c, f[2]) }},
		"a step ahead":        {"step", raw(change(func(h *header) { h.step = 1 }))},
		"another chunk":       {"offset", func(c net.Conn) { send(c, ones(ReduceScatter, 0, 0)) }},
		"an offset too far":   {"offset", raw(change(func(h *header) { h.offset = math.MaxUint64 }))},
		"oversized":           {"length", raw(change(func(h *header) { h.length = math.MaxUint32 }))},
		"too long for a step": {"length", raw(change(func(h *header) { h.length = MaxPayload }))},
		"too short":           {"length", raw(change(func(h *header) { h.length -= 4 }))},
		"a second hello":      {"type", func(c net.Conn) { _ = WriteHello(c, testHello) }},
		"garbage":             {"magic", func(c net.Conn) { _, _ = c.Write(make([]byte, headerSize)) }},
	} {
		err, told := against(t, g.write)
		var peer *PeerError
		var bad *FrameError
		if !errors.As(err, &peer) || peer.Rank != 1 || !errors.As(err, &bad) || bad.Field != g.field {
			t.Errorf("%s: %v, want rank 1 and the field %s", name, err, g.field)
		}
		var closed *ClosedError
		if !errors.As(told, &closed) || closed.Reason != ReasonBadFrame || bad != nil && closed.Text != bad.Error() {
			t.Errorf("%s: the sender was told %v, want which field", name, told)
		}
	}
}

func TestStreamThatEndsEarly(t *testing.T) {
	for name, write := range map[string]func(net.Conn){
		"at once":       func(c net.Conn) { _ = c.Close() },
		"in the header": func(c net.Conn) { _, _ = c.Write([]byte("ALR")); _ = c.Close() },
		"in a payload": func(c net.Conn) {
			_, _ = c.Write(append(ones(ReduceScatter, 1, 0).header().append(nil), 1, 2, 3))
			_ = c.Close()
		},
		"between frames": func(c net.Conn) { send(c, honest()[:2]...); _ = c.Close() },
	} {
		err, _ := against(t, write)
		var peer *PeerError
		var closed *ClosedError
		if !errors.As(err, &peer) || peer.Rank != 1 || errors.As(err, &closed) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want rank 1's stream to have ended without a reason", name, err)
		}
	}
}

// TestPieceMadeUp has the previous of three members send the completed chunk
// before this member's summand, which it must contain, has left.
func TestPieceMadeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, previous := net.Pipe()
		out, next := net.Pipe() // nobody reads: this member's first piece never leaves
		defer next.Close()
		src := make([]float32, 3*Align)
		told := make(chan error, 1)
		go func() { told <- NewLink(previous).Closed() }()
		go func() {
			payload := make([]byte, 4*Align)
			link := NewLink(previous)
			for t, c := range []int{2, 1, 0, 2} {
				_ = link.Send(Frame{Phase(1 + t/2), t % 2, c * Align, payload})
			}
		}()
		err := Reduce(t.Context(), Config{Rank: 0, N: 3, Prev: NewLink(in), Next: NewLink(out), Codec: codec.F32{}}, make([]float32, len(src)), src)
		var peer *PeerError
		var bad *FrameError
		if !errors.As(err, &peer) || peer.Rank != 2 || peer.Phase != AllGather || peer.Step != 1 || !errors.As(err, &bad) {
			t.Errorf("got %v, want rank 2 refused in all-gather step 1", err)
		}
		var closed *ClosedError
		if err := <-told; !errors.As(err, &closed) || closed.Reason != ReasonBadFrame {
			t.Errorf("rank 2 was told %v, want a bad frame", err)
		}
	})
}

// TestNextRefuses has the next member refuse the stream, as one does that is
// already past this attempt.
func TestNextRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, previous := net.Pipe()
		defer previous.Close()
		out, next := net.Pipe()
		later := testHello
		later.Round++
		go func() { _ = NewLink(next).Close(testHello.Match(later)) }()
		src := make([]float32, 2*Align)
		err := Reduce(t.Context(), Config{Rank: 0, N: 3, Prev: NewLink(in), Next: NewLink(out), Codec: codec.F32{}}, make([]float32, len(src)), src)
		var peer *PeerError
		var closed *ClosedError
		if !errors.As(err, &peer) || peer.Rank != 1 || !errors.As(err, &closed) || closed.Reason != ReasonPast {
			t.Errorf("got %v, want rank 1's word that the stream is of the past", err)
		}
	})
}
