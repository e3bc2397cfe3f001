package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
	if err := c.admissible(b); err != nil {
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

// admissible keeps what no state of the run could accept out of raft's log.
func (c *Coordinator) admissible(b []byte) error {
	refuse := func(kind, reason string) error { return &state.Refused{Kind: kind, Reason: reason} }
	s, err := run.ParseSigned(b)
	if err != nil {
		return refuse("statement", err.Error())
	}
	signers, err := s.Signers(c.run)
	if err != nil {
		return refuse(s.Statement.Kind(), err.Error())
	}
	v := c.View()
	for _, a := range signers {
		if slices.Contains(v.Coordinators, a) || slices.ContainsFunc(v.Members, func(m state.Member) bool { return m.Address == a }) {
			return nil
		}
		pending := func(p run.Signed) bool { return p.Statement == s.Statement }
		if st, ok := s.Statement.(run.Member); ok && (a == st.Subject || a == st.Successor) && slices.ContainsFunc(v.Pending, pending) {
			return nil // the consent of a coordinator that is about to enter
		}
	}
	return refuse(s.Statement.Kind(), fmt.Sprintf("%s is neither a member nor a coordinator of run %s", signers[0], c.run.Short()))
}
