package allreduce

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/allmend-network/allmend/verify/digest"
)

// tape is a Stream that reads from one string and records what is written.
type tape struct {
	io.Reader
	bytes.Buffer
}

func newTape(in []byte) *tape                    { return &tape{Reader: bytes.NewReader(in)} }
func (t *tape) Read(b []byte) (int, error)       { return t.Reader.Read(b) }
func (t *tape) Write(b []byte) (int, error)      { return t.Buffer.Write(b) }
func (t *tape) Close() error                     { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }
func (t *tape) String() string                   { return hex.EncodeToString(t.Bytes()) }
func written(t *testing.T, do func(*tape) error) string {
	t.Helper()
	out := newTape(nil)
	if err := do(out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var testHello = Hello{
	Run:          digest.Sum{0x01, 31: 0x02},
	Round:        7,
	Attempt:      0x0102030405060708,
	Contributors: digest.Sum{0x03, 31: 0x04},
	Rank:         2,
}

var testFrame = Frame{Phase: AllGather, Step: 3, Offset: 0x0a0b0c, Payload: []byte{0, 0, 0x80, 0x3f}}

const (
	goldenHello = "414c5201" + "01" + "00" + "0000" + "0000000000000000" + "54000000" +
		"0100000000000000000000000000000000000000000000000000000000000002" + "0700000000000000" + "0807060504030201" +
		"0300000000000000000000000000000000000000000000000000000000000004" + "02000000"
	goldenData  = "414c5201" + "02" + "02" + "0300" + "0c0b0a0000000000" + "04000000" + "0000803f"
	goldenClose = "414c5201" + "03" + "00" + "0000" + "0000000000000000" + "05000000" + "01" + "73746f70"
)

func TestGoldenBytes(t *testing.T) {
	for _, g := range []struct {
		name, want string
		do         func(*tape) error
	}{
		{"hello", goldenHello, func(s *tape) error { return WriteHello(s, testHello) }},
		{"data", goldenData, func(s *tape) error { return NewLink(s).Send(testFrame) }},
		{"close", goldenClose, func(s *tape) error { return NewLink(s).Close(errors.New("stop")) }},
		{"close without a reason", "", func(s *tape) error { return NewLink(s).Close(nil) }},
	} {
		if got := written(t, g.do); got != g.want {
			t.Errorf("%s:\n got %s\nwant %s", g.name, got, g.want)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receive reads one frame off bytes as testFrame, and returns its payload.
func receive(b []byte) ([]byte, error) {
	want := testFrame
	want.Payload = make([]byte, len(testFrame.Payload))
	err := NewLink(newTape(b)).Recv(want)
	return want.Payload, err
}

func TestGoldenReadsBack(t *testing.T) {
	rest := newTape(append(unhex(t, goldenHello), "next"...))
	h, err := ReadHello(rest)
	if err != nil || h != testHello {
		t.Errorf("hello: got %+v, %v", h, err)
	}
	if after, _ := io.ReadAll(rest); string(after) != "next" {
		t.Errorf("ReadHello left %q of what follows", after)
	}
	if payload, err := receive(unhex(t, goldenData)); err != nil || !bytes.Equal(payload, testFrame.Payload) {
		t.Errorf("data: got %x, %v", payload, err)
	}
	for name, err := range map[string]error{
		"Closed": NewLink(newTape(unhex(t, goldenClose))).Closed(),
		"Recv":   second(receive(unhex(t, goldenClose))),
	} {
		var closed *ClosedError
		if !errors.As(err, &closed) || *closed != (ClosedError{ReasonAborted, "stop"}) {
			t.Errorf("%s: got %v, want the reason and the text", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestEachHeaderByte flips each byte of each header: the error names the field,
// and no payload is read.
func TestEachHeaderByte(t *testing.T) {
	fields := strings.Fields("magic magic magic version type phase step step " + strings.Repeat("offset ", 8) + strings.Repeat("length ", 4))
	for name, g := range map[string]struct {
		golden string
		read   func(*tape) error
	}{
		"hello": {goldenHello, func(s *tape) error { return second(ReadHello(s)) }},
		"data": {goldenData, func(s *tape) error {
			return NewLink(s).Recv(Frame{testFrame.Phase, testFrame.Step, testFrame.Offset, make([]byte, 4)})
		}},
		"close": {goldenClose, func(s *tape) error { return NewLink(s).Closed() }},
	} {
		for i, field := range fields {
			b := unhex(t, g.golden)
			b[i] ^= 0xf0
			s := newTape(b)
			var bad *FrameError
			if err := g.read(s); !errors.As(err, &bad) || !strings.HasSuffix(bad.Field, field) {
				if !(name == "close" && i == headerSize-4) { // 5 became 245: a longer close
					t.Errorf("%s, byte %d: %v, want a FrameError about %s", name, i, err, field)
				}
				continue
			}
			if left := s.Reader.(*bytes.Reader).Len(); left != len(b)-headerSize {
				t.Errorf("%s, byte %d: %d bytes left, want the payload unread", name, i, left)
			}
		}
	}
}

func TestBadClosePayloads(t *testing.T) {
	head := func(length uint32) []byte { return header{typ: typeClose, length: length}.append(nil) }
	for field, b := range map[string][]byte{
		"close length": head(0),
		"length":       head(MaxPayload + 1),
		"close reason": append(head(1), 0),
		"close text":   append(head(2), 1, 0xff),
	} {
		var bad *FrameError
		if err := NewLink(newTape(b)).Closed(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
	for name, b := range map[string][]byte{"long": head(257), "unknown": append(head(1), 7)} {
		var bad *FrameError
		if err := NewLink(newTape(b)).Closed(); !errors.As(err, &bad) {
			t.Errorf("%s: got %v, want a FrameError", name, err)
		}
	}
}

func TestTruncatedAnywhere(t *testing.T) {
	for golden, read := range map[string]func([]byte) error{
		goldenHello: func(b []byte) error { return second(ReadHello(newTape(b))) },
		goldenData:  func(b []byte) error { return second(receive(b)) },
		goldenClose: func(b []byte) error { return NewLink(newTape(b)).Closed() },
	} {
		whole := unhex(t, golden)
		for n := range whole {
			err := read(whole[:n])
			var closed *ClosedError
			if !errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &closed) {
				t.Errorf("%d bytes of %s: %v, want a broken stream", n, golden, err)
			}
		}
	}
}

// TestCloseReasons sends each kind of error and reads it as the neighbour does.
func TestCloseReasons(t *testing.T) {
	later := testHello
	later.Attempt++
	for name, g := range map[string]struct {
		err  error
		want Reason
	}{
		"other errors": {errors.New("told to"), ReasonAborted},
		"bad frame":    {&FrameError{"step", 1, 2}, ReasonBadFrame},
		"past":         {testHello.Match(later), ReasonPast},
		"future":       {later.Match(testHello), ReasonFuture},
		"long text":    {errors.New(strings.Repeat("é", 300)), ReasonAborted},
		"no text":      {errors.New("\xff"), ReasonAborted},
	} {
		out := newTape(nil)
		if err := NewLink(out).Close(g.err); err != nil {
			t.Fatal(err)
		}
		var closed *ClosedError
		if err := NewLink(newTape(out.Bytes())).Closed(); !errors.As(err, &closed) || closed.Reason != g.want || len(closed.Text) >= closeSize {
			t.Errorf("%s: the neighbour reads %v, want %s", name, err, g.want)
		}
	}
}

func TestHelloMatch(t *testing.T) {
	with := func(change func(*Hello)) Hello {
		h := testHello
		change(&h)
		return h
	}
	for name, g := range map[string]struct {
		got  Hello
		want Reason
	}{
		"same":                             {testHello, 0},
		"earlier round, later attempt":     {with(func(h *Hello) { h.Round--; h.Attempt++ }), ReasonPast},
		"later round, earlier attempt":     {with(func(h *Hello) { h.Round++; h.Attempt-- }), ReasonFuture},
		"earlier attempt":                  {with(func(h *Hello) { h.Attempt-- }), ReasonPast},
		"later attempt, other list":        {with(func(h *Hello) { h.Attempt++; h.Contributors[5] = 1 }), ReasonFuture},
		"other list":                       {with(func(h *Hello) { h.Contributors[5] = 1 }), ReasonOtherRing},
		"other rank":                       {with(func(h *Hello) { h.Rank = 0 }), ReasonOtherRing},
		"other run, even if of the future": {with(func(h *Hello) { h.Run[0]++; h.Round++ }), ReasonOtherRun},
	} {
		err := g.got.Match(testHello)
		var mismatch *HelloError
		if g.want == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.As(err, &mismatch) || mismatch.Reason != g.want || mismatch.Error() == "" {
			t.Errorf("%s: got %v, want %s", name, err, g.want)
		}
	}
}

// FuzzFrames feeds any bytes to every reader. What is accepted is exactly what
// the writers write, and errors are of the kinds promised.
func FuzzFrames(f *testing.F) {
	for _, golden := range []string{goldenHello, goldenData, goldenClose} {
		f.Add(unhex(f, golden))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(name string, err error) {
			var bad *FrameError
			var closed *ClosedError
			if err != nil && !errors.As(err, &bad) && !errors.As(err, &closed) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v", name, err)
			}
			if errors.As(err, &closed) {
				out := newTape(nil)
				h := header{typ: typeClose, length: uint32(1 + len(closed.Text))}
				_ = (&streamLink{stream: out}).write(h, append([]byte{byte(closed.Reason)}, closed.Text...))
				if !bytes.HasPrefix(b, out.Bytes()) {
					t.Errorf("%s: %x is not what was read", name, out.Bytes())
				}
			}
		}
		h, err := ReadHello(newTape(b))
		check("hello", err)
		if err == nil {
			out := newTape(nil)
			if _ = WriteHello(out, h); !bytes.HasPrefix(b, out.Bytes()) {
				t.Errorf("hello: %x is not what was read", out.Bytes())
			}
		}
		payload, err := receive(b)
		check("data", err)
		if err == nil {
			frame := testFrame
			frame.Payload = payload
			out := newTape(nil)
			if _ = NewLink(out).Send(frame); !bytes.HasPrefix(b, out.Bytes()) {
				t.Errorf("data: %x is not what was read", out.Bytes())
			}
		}
		check("closed", NewLink(newTape(b)).Closed())
	})
}
