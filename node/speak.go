package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/run"
)

const (
	speakAgain = 200 * time.Millisecond
	hedgeAfter = time.Second // without an answer, another coordinator is asked too
)

// speak proposes statements, in order, each until it is applied or refused.
func (n *Node) speak(ctx context.Context) {
	for {
		select {
		case s := <-n.speech:
			n.propose(ctx, s)
		case <-ctx.Done():
			return
		}
	}
}

// propose says a statement until it is applied or refused.
func (n *Node) propose(ctx context.Context, s run.Signed) {
	kind := s.Statement.Kind()
	for ctx.Err() == nil {
		err := n.hedge(ctx, s)
		if err == nil {
			return
		}
		if errors.As(err, new(*state.Refused)) {
			n.logger.Info("a statement was refused", "kind", kind, "reason", err)
			return
		}
		if ctx.Err() == nil {
			n.logger.Warn("no coordinator takes a statement; it is said again", "kind", kind, "error", err)
		}
		select {
		case <-time.After(speakAgain):
		case <-ctx.Done():
		}
	}
}

// hedge says a statement to one coordinator, and to the next as well when the
// first does not answer soon: it may be frozen. Twice the same is a no-op.
func (n *Node) hedge(ctx context.Context, s run.Signed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list := n.coordinators()
	answers := make(chan error, len(list))
	asked, heard := 0, 0
	var failed error
	for heard < len(list) {
		if asked < len(list) {
			c := list[asked]
			asked++
			go func() {
				size, err := n.host.submit(ctx, c, s)
				if err == nil {
					n.heardOf(size)
				}
				if err != nil && !errors.As(err, new(*state.Refused)) {
					err = fmt.Errorf("%s: %w", c.Short(), err)
				}
				answers <- err
			}()
		}
		select {
		case err := <-answers:
			if err == nil || errors.As(err, new(*state.Refused)) {
				return err
			}
			heard++
			failed = errors.Join(failed, err)
		case <-time.After(hedgeAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failed
}

// heardOf notes that there is a log of at least size records somewhere.
func (n *Node) heardOf(size uint64) {
	for {
		old := n.applied.Load()
		if old >= size || n.applied.CompareAndSwap(old, size) {
			return
		}
	}
}
