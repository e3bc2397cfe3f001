package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

const (
	keepHeads  = 1024            // heads of each coordinator, the newest
	maxAhead   = 256             // records that a head may be ahead of this coordinator's log
	headAgain  = 5 * time.Second // the last head is sent again: the other side may have restarted
	headFailed = 250 * time.Millisecond
)

// headLog is the signed heads of all coordinators, in the order they came.
// Heads travel beside the run's log and are not kept on disk, but for the last
// of this coordinator's own (signer). One coordinator's push out its own only.
type headLog struct {
	mu    sync.Mutex // guards the fields below
	next  uint64     // number of the next head
	heads []signedHead
	known map[signedBy]run.Head
	count map[identity.Address]int
}

type signedHead struct {
	number uint64
	by     identity.Address
	head   run.Head
	signed run.Signed
}

type signedBy struct {
	by   identity.Address
	size uint64
}

func newHeadLog() *headLog {
	return &headLog{known: map[signedBy]run.Head{}, count: map[identity.Address]int{}}
}

// add keeps a head and reports whether it was new. It returns an error when
// its signer has signed another root for the same size.
func (l *headLog) add(by identity.Address, s run.Signed) (bool, error) {
	head := s.Statement.(run.Head)
	at := signedBy{by, head.Index}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.known[at]; ok {
		if old.Root != head.Root {
			return false, fmt.Errorf("coordinator %s signed two roots for %d records: %s and %s", by, head.Index, old.Root, head.Root)
		}
		return false, nil
	}
	l.known[at] = head
	l.heads = append(l.heads, signedHead{l.next, by, head, s})
	l.next++
	if l.count[by]++; l.count[by] > keepHeads {
		l.drop(by)
	}
	return true, nil
}

// drop forgets the oldest head of one coordinator; the caller holds mu.
func (l *headLog) drop(by identity.Address) {
	i := slices.IndexFunc(l.heads, func(h signedHead) bool { return h.by == by })
	delete(l.known, signedBy{by, l.heads[i].head.Index})
	l.heads = slices.Delete(l.heads, i, i+1)
	l.count[by]--
}

// after returns the heads from number n on, and the number after them.
func (l *headLog) after(n uint64) ([]signedHead, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.heads, n, func(h signedHead, n uint64) int { return cmp.Compare(h.number, n) })
	return slices.Clone(l.heads[i:]), l.next
}

// latest returns the largest size that by has signed, 0 if none is known.
func (l *headLog) latest(by identity.Address) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var size uint64
	for _, h := range l.heads {
		if h.by == by {
			size = max(size, h.head.Index)
		}
	}
	return size
}

// signHeads signs the log's head after every applied statement.
func (c *Coordinator) signHeads() error {
	for {
		changed := c.changed.wait()
		heads, err := c.signer.sign(c.records, c.fsm.takeEnds())
		if err != nil {
			return err
		}
		for _, h := range heads {
			if _, err := c.heads.add(c.self, h); err != nil {
				return err
			}
		}
		if len(heads) > 0 {
			c.signed.ring()
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			return nil
		}
	}
}

// takeHead takes another coordinator's head.
func (c *Coordinator) takeHead(from identity.Address, b []byte) error {
	s, err := run.ParseSigned(b)
	if err != nil {
		return err
	}
	head, ok := s.Statement.(run.Head)
	signers, err := s.Signers(c.run)
	if err != nil {
		return err
	}
	if !ok || len(signers) != 1 || signers[0] != from {
		return fmt.Errorf("want a Head that %s signed, got a %s", from, s.Statement.Kind())
	}
	if !slices.Contains(c.View().Coordinators, from) && c.records.Len() >= head.Index {
		return fmt.Errorf("%s is no coordinator of this run", from)
	}
	if have := c.records.Len(); head.Index > have+maxAhead {
		return fmt.Errorf("head of %d records, this coordinator has %d: send it again later", head.Index, have)
	}
	fresh, err := c.heads.add(from, s)
	if root, rootErr := c.records.Root(head.Index); err != nil || rootErr == nil && root != head.Root {
		c.logger.Error("a coordinator signed a head that contradicts the log", "coordinator", from, "records", head.Index, "root", head.Root)
		c.tell(s) // the state machine keeps it as evidence
	}
	if fresh {
		c.signed.ring()
	}
	return err
}

// pushHeads sends this coordinator's heads to every other one.
func (c *Coordinator) pushHeads() error {
	pushing := map[identity.Address]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		changed := c.changed.wait()
		others := c.others()
		for _, other := range others {
			if pushing[other] == nil {
				ctx, cancel := context.WithCancel(c.ctx)
				pushing[other] = cancel
				all.Go(func() { c.pushTo(ctx, other) })
			}
		}
		for other, cancel := range pushing {
			if !slices.Contains(others, other) {
				cancel()
				delete(pushing, other)
			}
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			return nil
		}
	}
}

// others returns the other coordinators.
func (c *Coordinator) others() []identity.Address {
	return slices.DeleteFunc(slices.Clone(c.View().Coordinators), func(a identity.Address) bool { return a == c.self })
}

// pushTo sends new heads in order, and the last one again now and then.
func (c *Coordinator) pushTo(ctx context.Context, to identity.Address) {
	var sent uint64 // number of the first head not sent yet
	for ctx.Err() == nil {
		signed := c.signed.wait()
		heads, next := c.heads.after(sent)
		wait := headAgain
		if err := c.sendHeads(ctx, to, heads); err != nil {
			wait = headFailed
		} else {
			sent = next
		}
		again := time.NewTimer(wait)
		select {
		case <-signed:
			if wait == headFailed {
				select { // a peer that is gone is not dialled for each head
				case <-again.C:
				case <-ctx.Done():
				}
			}
		case <-again.C:
			if wait == headAgain {
				sent = c.lastOwn()
			}
		case <-ctx.Done():
		}
		again.Stop()
	}
}

// lastOwn returns the number of this coordinator's last head.
func (c *Coordinator) lastOwn() uint64 {
	heads, next := c.heads.after(0)
	for _, h := range slices.Backward(heads) {
		if h.by == c.self {
			return h.number
		}
	}
	return next
}

func (c *Coordinator) sendHeads(ctx context.Context, to identity.Address, heads []signedHead) error {
	for _, h := range heads {
		if h.by != c.self {
			continue
		}
		b, err := h.signed.Marshal()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, c.transport.timeout)
		a, err := c.transport.exchange(ctx, to.String(), kindHead, func(w io.Writer) error { return writeFrame(w, b, run.MaxStatementSize) })
		cancel()
		if err != nil {
			return err
		}
		if a.Error != "" {
			return errors.New(a.Error)
		}
	}
	return nil
}
