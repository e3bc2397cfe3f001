package allreduce

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/allmend-network/allmend/verify/digest"
)

const helloSize = 32 + 8 + 8 + 32 + 4

// A Hello opens each stream and says which ring it belongs to. It names, it does
// not prove: the caller checks that the transport's peer is the member at Rank.
type Hello struct {
	Run          digest.Sum
	Round        uint64
	Attempt      uint64
	Contributors digest.Sum // of the fixed list of the ring's members
	Rank         uint32     // of the sender, in that list
}

// WriteHello writes h as the first frame of a stream, in one Write.
func WriteHello(w io.Writer, h Hello) error {
	b := make([]byte, 0, headerSize+helloSize)
	b = header{typ: typeHello, length: helloSize}.append(b)
	b = append(b, h.Run[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.Round)
	b = binary.LittleEndian.AppendUint64(b, h.Attempt)
	b = append(b, h.Contributors[:]...)
	b = binary.LittleEndian.AppendUint32(b, h.Rank)
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("opening a ring stream: %w", err)
	}
	return nil
}

// ReadHello reads the first frame of a stream and not a byte more, so that the
// stream can be parked, refused, or handed to [NewLink]. The caller sets a
// deadline before. Errors are of r, or a *[FrameError].
func ReadHello(r io.Reader) (Hello, error) {
	var h Hello
	got, err := readHeader(r)
	if err != nil {
		return h, fmt.Errorf("reading the hello of a ring stream: %w", truncated(err))
	}
	if err := got.match(header{typ: typeHello, length: helloSize}); err != nil {
		return h, fmt.Errorf("reading the hello of a ring stream: %w", err)
	}
	var b [helloSize]byte
	if err := readPayload(r, b[:]); err != nil {
		return h, fmt.Errorf("reading the hello of a ring stream: %w", err)
	}
	h.Run = digest.Sum(b[0:32])
	h.Round = binary.LittleEndian.Uint64(b[32:])
	h.Attempt = binary.LittleEndian.Uint64(b[40:])
	h.Contributors = digest.Sum(b[48:80])
	h.Rank = binary.LittleEndian.Uint32(b[80:])
	return h, nil
}

// Match returns nil when h is the hello that this ring's previous member has to
// send, or a *[HelloError]. Run is compared first, then (round, attempt), then
// contributors and rank, so that what lies in the future is never mistaken for
// something wrong.
func (h Hello) Match(want Hello) error {
	reason := Reason(0)
	switch when := cmp.Or(cmp.Compare(h.Round, want.Round), cmp.Compare(h.Attempt, want.Attempt)); {
	case h.Run != want.Run:
		reason = ReasonOtherRun
	case when < 0:
		reason = ReasonPast
	case when > 0:
		reason = ReasonFuture
	case h.Contributors != want.Contributors || h.Rank != want.Rank:
		reason = ReasonOtherRing
	default:
		return nil
	}
	return &HelloError{Reason: reason, Got: h, Want: want}
}

// A HelloError says how a hello differs from the one wanted: by [ReasonPast],
// which is refused, [ReasonFuture], which may be parked until the log catches
// up, [ReasonOtherRun], or [ReasonOtherRing].
type HelloError struct {
	Reason    Reason
	Got, Want Hello
}

func (e *HelloError) Error() string {
	switch e.Reason {
	case ReasonOtherRun:
		return fmt.Sprintf("hello: run %s, want %s", e.Got.Run.Short(), e.Want.Run.Short())
	case ReasonOtherRing:
		return fmt.Sprintf("hello: rank %d of contributors %s, want rank %d of %s",
			e.Got.Rank, e.Got.Contributors.Short(), e.Want.Rank, e.Want.Contributors.Short())
	}
	return fmt.Sprintf("hello: round %d attempt %d lies in the %s of round %d attempt %d",
		e.Got.Round, e.Got.Attempt, e.Reason, e.Want.Round, e.Want.Attempt)
}
