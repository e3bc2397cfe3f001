package allreduce

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// A Link is one stream to one neighbour, past its hello. The member that opened
// it calls Send and Closed, the other Recv; either calls Close, at any time and
// from any goroutine, and the other calls then return an error.
type Link interface {
	// Send writes f. When it returns nil, the bytes are with the transport.
	Send(f Frame) error
	// Recv reads the next frame, which must be want in every field, and fills
	// want.Payload. Anything else is a *[FrameError], before any payload is
	// read; a stream its peer closed with a reason is a *[ClosedError].
	Recv(want Frame) error
	// Closed waits until the neighbour closes the stream, which it must do with
	// a reason: a *[ClosedError]. It is a *[FrameError] if the neighbour sends
	// anything else, or says what broke.
	Closed() error
	// Close tells the neighbour the reason, if the stream still takes a frame,
	// which it grants a second, and releases the stream. Without a reason it
	// cuts off a Send under way, and releases the stream at once.
	Close(reason error) error
}

// A Stream is what [NewLink] needs of a connection: a libp2p stream, a TCP
// connection or one end of net.Pipe. Close releases it in both directions, sends
// what was written before, and makes blocked calls return.
type Stream interface {
	io.ReadWriteCloser
	SetWriteDeadline(t time.Time) error
}

// A Reason is why a stream was closed, in one byte on the wire.
type Reason uint8

// The reasons, as the receiver of a close reads them.
const (
	ReasonAborted   Reason = 1 // the sender gave up the attempt: told to, or its other neighbour is gone
	ReasonPast      Reason = 2 // the stream is of an earlier attempt
	ReasonFuture    Reason = 3 // the stream is of an attempt that the sender could not wait for
	ReasonOtherRun  Reason = 4 // the stream is of another run
	ReasonOtherRing Reason = 5 // the members or the rank are not those of the attempt
	ReasonBadFrame  Reason = 6 // a frame was not the one that had to come
)

// String returns the reason in a word or two.
func (r Reason) String() string {
	switch r {
	case ReasonAborted:
		return "aborted"
	case ReasonPast:
		return "past"
	case ReasonFuture:
		return "future"
	case ReasonOtherRun:
		return "other run"
	case ReasonOtherRing:
		return "other ring"
	case ReasonBadFrame:
		return "bad frame"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// A ClosedError is the neighbour's own word on why it closed the stream. It is
// no sign of a fault in the neighbour.
type ClosedError struct {
	Reason Reason
	Text   string // for people, as the neighbour wrote it: at most 255 bytes, UTF-8
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("closed by the neighbour (%s): %q", e.Reason, e.Text)
}

// closeGrace is how long Close with a reason lets a frame on its way and the last
// one take.
const closeGrace = time.Second

// closeSize is the most bytes of a close payload: the reason byte and the text.
const closeSize = 256

// NewLink returns the Link over s, whose hello has been written or read.
func NewLink(s Stream) Link {
	return &streamLink{stream: s, closed: make(chan struct{}), sending: make(chan struct{}, 1)}
}

// streamLink waits on channels rather than mutexes where a wait may last until a
// deadline, so that tests on a fake clock see it wait.
type streamLink struct {
	stream Stream

	closing  atomic.Bool   // set by the call of Close that does the work
	closed   chan struct{} // closed by it at the end
	closeErr error         // written by it before

	sending chan struct{}    // holds a token while the writing half of stream is in use, and:
	head    [headerSize]byte // of the frame being written
	torn    bool             // a write failed, so the neighbour may be inside a frame
}

// Send implements [Link].
func (l *streamLink) Send(f Frame) error {
	if len(f.Payload) > MaxPayload {
		panic("allreduce: frame over MaxPayload")
	}
	l.sending <- struct{}{}
	defer func() { <-l.sending }()
	return l.write(f.header(), f.Payload)
}

// write needs the token of sending.
func (l *streamLink) write(h header, payload []byte) error {
	if _, err := l.stream.Write(h.append(l.head[:0])); err != nil {
		l.torn = true
		return err
	}
	if _, err := l.stream.Write(payload); err != nil {
		l.torn = true
		return err
	}
	return nil
}

// Recv implements [Link].
func (l *streamLink) Recv(want Frame) error {
	h, err := readHeader(l.stream)
	if err != nil {
		return truncated(err)
	}
	if h.typ == typeClose {
		return l.readClose(h)
	}
	if err := h.match(want.header()); err != nil {
		return err
	}
	return readPayload(l.stream, want.Payload)
}

// Closed implements [Link].
func (l *streamLink) Closed() error {
	h, err := readHeader(l.stream)
	if err != nil {
		return truncated(err)
	}
	if h.typ != typeClose {
		return &FrameError{"type", uint64(h.typ), uint64(typeClose)}
	}
	return l.readClose(h)
}

// readClose reads the rest of a close frame and returns its *ClosedError.
func (l *streamLink) readClose(h header) error {
	if h.length == 0 || h.length > closeSize {
		return &FrameError{"close length", uint64(h.length), closeSize}
	}
	if err := h.match(header{typ: typeClose, length: h.length}); err != nil {
		return err
	}
	var b [closeSize]byte
	if err := readPayload(l.stream, b[:h.length]); err != nil {
		return err
	}
	reason, text := Reason(b[0]), b[1:h.length]
	if reason < ReasonAborted || reason > ReasonBadFrame {
		return &FrameError{"close reason", uint64(reason), uint64(ReasonAborted)}
	}
	if !utf8.Valid(text) {
		return &FrameError{"close text", uint64(len(text)), 0}
	}
	return &ClosedError{Reason: reason, Text: string(text)}
}

// Close implements [Link]. A call without a reason also ends the wait of one
// with a reason: the neighbour is known to be gone.
func (l *streamLink) Close(reason error) error {
	if l.closing.CompareAndSwap(false, true) {
		l.closeErr = l.close(reason)
		close(l.closed)
	} else if reason == nil {
		_ = l.stream.SetWriteDeadline(time.Now()) // fails on a stream that is closed by now
	}
	<-l.closed
	return l.closeErr
}

func (l *streamLink) close(reason error) error {
	deadline := time.Now() // ends a Send that the neighbour does not read
	if reason != nil {
		deadline = deadline.Add(closeGrace)
	}
	err := l.stream.SetWriteDeadline(deadline)
	l.sending <- struct{}{}
	defer func() { <-l.sending }()
	if err == nil && reason != nil && !l.torn {
		_ = l.write(closeFrame(reason)) // a courtesy: the neighbour also sees the end of the stream
	}
	return l.stream.Close()
}

// closeFrame puts an error into one byte and a short text. Of an error that is
// not this package's, it sends only the text.
func closeFrame(err error) (header, []byte) {
	reason := ReasonAborted
	var bad *FrameError
	var hello *HelloError
	switch {
	case errors.As(err, &bad):
		reason = ReasonBadFrame
	case errors.As(err, &hello):
		reason = hello.Reason
	}
	text := strings.ToValidUTF8(err.Error(), "")
	for len(text) > closeSize-1 {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	payload := append([]byte{byte(reason)}, text...)
	return header{typ: typeClose, length: uint32(len(payload))}, payload
}
