package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/hashicorp/raft"
)

const (
	applyTimeout = 5 * time.Second        // for raft to take a command
	proposeAgain = 100 * time.Millisecond // without a leader, or one that does not answer
)

// NotLeaderError says that this coordinator does not lead, and who does as far
// as it knows; zero if nobody.
type NotLeaderError struct{ Leader identity.Address }

// Error implements error.
func (e *NotLeaderError) Error() string {
	if e.Leader.IsZero() {
		return "no coordinator leads at the moment"
	}
	return "coordinator " + e.Leader.String() + " leads"
}

// Propose has a signed statement applied, wherever the leader is. It returns
// nil when it is in the log, now or since earlier; a [*state.Refused] when the
// state machine refused it; and otherwise ctx's error with the last obstacle:
// then it may or may not be applied later, and saying it again does no harm.
func (c *Coordinator) Propose(ctx context.Context, s run.Signed) error {
	b, err := s.Marshal()
	if err != nil {
		return err
	}
	for {
		err := c.try(ctx, b)
		var refused *state.Refused
		if err == nil || errors.As(err, &refused) {
			return err
		}
		select {
		case <-time.After(proposeAgain):
		case <-ctx.Done():
			return fmt.Errorf("%s not applied yet: %w (%w)", s.Statement.Kind(), err, ctx.Err())
		case <-c.ctx.Done():
			return errors.Join(err, errClosed)
		}
	}
}

var errClosed = errors.New("this coordinator is closing")

// try applies a statement here or forwards it to the leader, once.
func (c *Coordinator) try(ctx context.Context, b []byte) error {
	err := c.apply(ctx, b)
	var elsewhere *NotLeaderError
	if !errors.As(err, &elsewhere) || elsewhere.Leader.IsZero() || elsewhere.Leader == c.self {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	a, err := c.transport.exchange(ctx, elsewhere.Leader.String(), kindPropose, func(w io.Writer) error {
		return writeFrame(w, b, run.MaxStatementSize)
	})
	switch {
	case err != nil:
		return err
	case a.Refused:
		return &state.Refused{Kind: "statement", Reason: a.Error}
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// takeProposal serves another coordinator's forwarded statement; it is not
// forwarded again.
func (c *Coordinator) takeProposal(ctx context.Context, _ identity.Address, b []byte) error {
	return c.apply(ctx, b)
}

// apply has a statement applied by raft; this coordinator must lead.
func (c *Coordinator) apply(ctx context.Context, b []byte) error {
	if c.raft.State() != raft.Leader {
		return &NotLeaderError{c.Leader()}
	}
	if fresh, err := c.judge(b); err != nil || !fresh {
		return err
	}
	future := c.raft.Apply(b, applyTimeout)
	done := make(chan error, 1)
	go func() { done <- future.Error() }() // raft answers in any case, at the latest when it shuts down
	select {
	case err := <-done:
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
			return errors.Join(&NotLeaderError{c.Leader()}, err)
		}
		if err != nil {
			return err
		}
		err, _ = future.Response().(error)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// judge keeps out of raft's log what would change nothing: a statement that is
// refused or was applied before costs no entry, however often it is repeated.
// fresh with a nil error says that it is worth an entry.
//
// Only a leader whose machine has caught up may judge, and it must still lead
// afterwards: then nothing that anybody was told is applied is missing in it.
func (c *Coordinator) judge(b []byte) (fresh bool, err error) {
	if c.caughtUp.Load() != c.raft.CurrentTerm() {
		return false, errCatchingUp
	}
	s, err := run.ParseSigned(b)
	if err != nil {
		return false, &state.Refused{Kind: "statement", Reason: err.Error()}
	}
	if fresh, err = c.fsm.judge(s); fresh {
		return true, nil
	}
	if e := c.raft.VerifyLeader().Error(); e != nil {
		return false, errors.Join(&NotLeaderError{c.Leader()}, e)
	}
	return false, err
}

// errCatchingUp says that a new leader has not yet applied all that was agreed.
var errCatchingUp = errors.New("the leader is new and has not caught up yet")
