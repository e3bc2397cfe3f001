package allreduce

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestCloseDuringSend closes a link whose neighbour reads nothing: a reason is
// worth a second of waiting, none is worth none, and the latter ends the former.
func TestCloseDuringSend(t *testing.T) {
	for name, g := range map[string]struct {
		reasons []error
		want    time.Duration
	}{
		"with a reason":    {[]error{errors.New("stop")}, closeGrace},
		"without a reason": {[]error{nil}, 0},
		"first with":       {[]error{errors.New("stop"), nil}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			link, start := NewLink(near), time.Now()
			sent := make(chan error, 1)
			go func() { sent <- link.Send(testFrame) }()
			done := make(chan struct{}, len(g.reasons))
			for _, reason := range g.reasons {
				synctest.Wait()
				go func() { _ = link.Close(reason); done <- struct{}{} }()
			}
			for range g.reasons {
				<-done
			}
			if spent := time.Since(start); spent != g.want {
				t.Errorf("%s: took %v of the fake clock, want %v", name, spent, g.want)
			}
			if err := <-sent; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: Send returned %v, want the deadline", name, err)
			}
		})
	}
}

// tearing is a tape whose second Write, of a payload, takes one byte and fails.
type tearing struct {
	*tape
	writes int
}

func (s *tearing) Write(b []byte) (int, error) {
	if s.writes++; s.writes == 2 {
		_, _ = s.tape.Write(b[:1])
		return 1, errors.New("torn")
	}
	return s.tape.Write(b)
}

// TestCloseAfterTornFrame writes no close frame into the middle of another.
func TestCloseAfterTornFrame(t *testing.T) {
	s := &tearing{tape: newTape(nil)}
	link := NewLink(s)
	if err := link.Send(testFrame); err == nil {
		t.Fatal("Send hid the error of its stream")
	}
	_ = link.Close(errors.New("stop"))
	if got, want := s.Len(), headerSize+1; got != want {
		t.Errorf("%d bytes are on the stream, want the %d of the torn frame", got, want)
	}
}
