package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/allmend-network/allmend/allreduce"
	"github.com/allmend-network/allmend/allreduce/codec"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
)

// circle is hosts that know each other, and their rings.
type circle struct {
	hosts        []*Host
	rings        []*rings
	contributors []identity.Address
}

func newCircle(t *testing.T, n int) *circle {
	c := &circle{}
	for i := range n {
		c.hosts = append(c.hosts, testHost(t, fmt.Sprintf("ring %d", i), nil))
	}
	slices.SortFunc(c.hosts, func(a, b *Host) int { return a.Self().Compare(b.Self()) })
	for _, h := range c.hosts {
		r := newRings()
		h.SetRoles(func(identity.Address) Role { return RoleMember })
		h.serveRing(r)
		c.rings = append(c.rings, r)
		c.contributors = append(c.contributors, h.Self())
		for _, other := range c.hosts {
			meet(t, h, other)
		}
	}
	return c
}

func (c *circle) hello(rank int, round, attempt uint64) allreduce.Hello {
	return allreduce.Hello{Run: testRun, Round: round, Attempt: attempt, Contributors: digest.Of([]byte("ring")), Rank: uint32(rank)}
}

func (c *circle) reduce(ctx context.Context, rank int, round, attempt uint64, src []float32) ([]float32, error) {
	dst := make([]float32, len(src))
	err := c.hosts[rank].reduce(ctx, c.rings[rank], c.hello(rank, round, attempt), c.contributors, allreduce.Config{Codec: codec.F32{}}, dst, src)
	return dst, err
}

func vectorOf(rank, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rank+1) * float32(i%17) / 3
	}
	return v
}

// TestRingOverStreams reduces round after round and compares with the dumb sum.
// Members enter at any moment: streams of the future are parked.
func TestRingOverStreams(t *testing.T) {
	const n, length, rounds = 3, 20_000, 5
	c := newCircle(t, n)
	var src [][]float32
	for i := range n {
		src = append(src, vectorOf(i, length))
	}
	want := allreduce.Dumb(src)
	ctx := soon(t)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for r := range uint64(rounds) {
				got, err := c.reduce(ctx, i, r+1, 1, src[i])
				if err != nil {
					t.Errorf("rank %d, round %d: %v", i, r+1, err)
					return
				}
				if !slices.Equal(got, want) {
					t.Errorf("rank %d, round %d: another sum", i, r+1)
				}
			}
		})
	}
	all.Wait()
}

func TestRingOfThePastIsRefused(t *testing.T) {
	c := newCircle(t, 2)
	ctx := soon(t)
	src := vectorOf(0, 100)
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			if _, err := c.reduce(ctx, i, 5, 1, src); err != nil {
				t.Errorf("rank %d: %v", i, err)
			}
		})
	}
	all.Wait()
	link, err := c.hosts[0].join(ctx, c.hosts[1].Self(), c.hello(0, 4, 1))
	if err != nil {
		t.Fatal(err)
	}
	var closed *allreduce.ClosedError
	if err := link.Closed(); !errors.As(err, &closed) || closed.Reason != allreduce.ReasonPast {
		t.Errorf("got %v", err)
	}
	link.Close(nil)
}

// TestRingBreaks lets a member die in a ring: the one that was sending to it
// names it. The one that waits for its stream waits on, until the log, here the
// test, ends the attempt.
func TestRingBreaks(t *testing.T) {
	c := newCircle(t, 3)
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	src := vectorOf(0, 3*allreduce.Align)
	errs := make(chan error, 2)
	for _, rank := range []int{0, 2} {
		go func() {
			_, err := c.reduce(ctx, rank, 1, 1, src)
			errs <- err
		}()
	}
	victim := c.rings[1].await(c.hello(1, 1, 1), c.hello(0, 1, 1), c.hosts[0].Self())
	arrived := <-victim.got // rank 0 reached it
	close(arrived.done)
	c.hosts[1].Close()
	var there *neighbourError
	var broke *allreduce.PeerError
	err := <-errs
	if !(errors.As(err, &there) && there.neighbour == c.hosts[1].Self()) && !(errors.As(err, &broke) && c.contributors[broke.Rank] == c.hosts[1].Self()) {
		t.Errorf("the dead member is not named: %v", err)
	}
	cancel()
	if err := <-errs; err == nil {
		t.Error("a ring without a member was completed")
	}
}

// TestRingOfAnotherMember refuses a stream whose hello is right but whose peer
// is not the member at that rank.
func TestRingOfAnotherMember(t *testing.T) {
	c := newCircle(t, 3)
	ctx := soon(t)
	w := c.rings[1].await(c.hello(1, 1, 1), c.hello(0, 1, 1), c.hosts[0].Self())
	defer c.rings[1].forget(w)
	link, err := c.hosts[2].join(ctx, c.hosts[1].Self(), c.hello(0, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	var closed *allreduce.ClosedError
	if err := link.Closed(); !errors.As(err, &closed) || closed.Reason != allreduce.ReasonOtherRing {
		t.Errorf("got %v", err)
	}
	link.Close(nil)
}
