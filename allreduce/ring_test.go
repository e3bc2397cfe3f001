package allreduce

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/allmend-network/allmend/allreduce/codec"
)

// circle is a ring of n members over net.Pipe. out[i] is rank i's end of its
// stream to the next rank, in[i] its end of the stream from the previous one.
type circle struct {
	out, in []net.Conn
	configs []Config
}

func newCircle(n int) *circle {
	c := &circle{make([]net.Conn, n), make([]net.Conn, n), make([]Config, n)}
	for i := range n {
		c.out[i], c.in[(i+1)%n] = net.Pipe()
	}
	for i := range n {
		c.configs[i] = Config{Rank: i, N: n, Prev: NewLink(c.in[i]), Next: NewLink(c.out[i]), Codec: codec.F32{}, piece: 1500}
	}
	return c
}

// kill ends a member as kill -9 does: no last frame, no deadline.
func (c *circle) kill(rank int) {
	c.out[rank].Close()
	c.in[rank].Close()
}

// reduce runs every member and returns their sums and errors by rank.
func (c *circle) reduce(ctx context.Context, srcs [][]float32) (sums [][]float32, errs []error) {
	sums, errs = make([][]float32, len(srcs)), make([]error, len(srcs))
	var group sync.WaitGroup
	for i, src := range srcs {
		sums[i] = make([]float32, len(src))
		group.Go(func() { errs[i] = Reduce(ctx, c.configs[i], sums[i], src) })
	}
	group.Wait()
	return sums, errs
}

func clone(v [][]float32) [][]float32 {
	v = slices.Clone(v)
	for i := range v {
		v[i] = slices.Clone(v[i])
	}
	return v
}

func TestRingIsDumb(t *testing.T) {
	for n := 1; n <= 9; n++ {
		lengths := []int{0, 1, n - 1, n, n + 1, Align - 1, Align, Align + 1, n*Align - 1, n * Align, n*Align + 1, 3*n*Align/2 + 7}
		for _, length := range lengths {
			testRing(t, n, length, 1500)
		}
	}
}

func TestRingOfFullPieces(t *testing.T) {
	testRing(t, 3, 9*Align+17, 0)
	testRing(t, 2, 2*Piece+3*Align+5, 0)
}

func testRing(t *testing.T, n, length, piece int) {
	synctest.Test(t, func(t *testing.T) {
		c, v := newCircle(n), vectors(n, length)
		for i := range c.configs {
			c.configs[i].piece = piece
		}
		before, want := clone(v), Dumb(v)
		sums, errs := c.reduce(t.Context(), v)
		for i := range n {
			if errs[i] != nil {
				t.Errorf("n = %d, length %d, rank %d: %v", n, length, i, errs[i])
			} else if at := difference(sums[i], want); at >= 0 {
				t.Errorf("n = %d, length %d, rank %d: element %d is %v, want %v", n, length, i, at, sums[i][at], want[at])
			}
			if difference(v[i], before[i]) >= 0 {
				t.Errorf("n = %d, length %d, rank %d: its own summand changed", n, length, i)
			}
		}
	})
}

func TestRingOfOneNeedsNoLinks(t *testing.T) {
	src, dst := []float32{1, 2, 3}, make([]float32, 3)
	if err := Reduce(t.Context(), Config{Rank: 0, N: 1}, dst, src); err != nil || difference(src, dst) >= 0 {
		t.Errorf("got %v, %v", dst, err)
	}
}

func TestReducePanicsOnShapes(t *testing.T) {
	x := make([]float32, 2)
	for name, f := range map[string]func(){
		"rank":    func() { _ = Reduce(t.Context(), Config{Rank: 2, N: 2}, x, make([]float32, 2)) },
		"none":    func() { _ = Reduce(t.Context(), Config{}, x, make([]float32, 2)) },
		"lengths": func() { _ = Reduce(t.Context(), Config{N: 1}, x, make([]float32, 3)) },
		"overlap": func() { _ = Reduce(t.Context(), Config{N: 1}, x, x) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: did not panic", name)
				}
			}()
			f()
		}()
	}
}

func TestProgressTellsTheWholeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, length = 3, 3 * Align
		c, v := newCircle(n), vectors(n, length)
		got := make([][]Progress, n)
		for i := range c.configs {
			c.configs[i].Progress = func(p Progress) { got[i] = append(got[i], p) }
		}
		if _, errs := c.reduce(t.Context(), v); errors.Join(errs...) != nil {
			t.Fatal(errs)
		}
		for rank, trace := range got {
			steps := []string{}
			var last Progress
			for _, p := range trace {
				if p.Received < last.Received || p.Sent < last.Sent || p.Phase < last.Phase || p.Phase == last.Phase && p.Step < last.Step {
					t.Errorf("rank %d: %+v after %+v", rank, p, last)
				}
				if at := fmt.Sprintf("%s %d", p.Phase, p.Step); len(steps) == 0 || steps[len(steps)-1] != at {
					steps = append(steps, at)
				}
				if p.Waiting != Nobody && p.Waiting != (rank+1)%n && p.Waiting != (rank+2)%n {
					t.Errorf("rank %d waits for %d", rank, p.Waiting)
				}
				last = p
			}
			if want := []string{"reduce-scatter 0", "reduce-scatter 1", "all-gather 0", "all-gather 1"}; !slices.Equal(steps, want) {
				t.Errorf("rank %d: steps %q, want %q", rank, steps, want)
			}
			const bytes = 4 * (n - 1) * 2 * Align
			if last.Received != bytes || last.Sent != bytes || last.Waiting != Nobody {
				t.Errorf("rank %d ended with %+v, want %d bytes each way, waiting for nobody", rank, last, bytes)
			}
		}
	})
}
