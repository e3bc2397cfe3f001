package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// submitID carries one signed statement to a coordinator, which has it applied
// wherever the leader is. Who may bring which is [bringer]'s business; what a
// statement is worth, its signatures'.
//
//	→ frame: the statement, canonical JSON, at most 64 KiB
//	← frame: verdict
const submitID = protocol.ID("/allmend/1/submit")

// submitTimeout is how long a coordinator looks for a leader.
const submitTimeout = 8 * streamTimeout / 10

const maxVerdict = 4 << 10

// verdict is a coordinator's answer.
type verdict struct {
	Applied bool   `json:"applied"`
	Size    uint64 `json:"size"`    // of the coordinator's log, then
	Refused bool   `json:"refused"` // by the state machine, for good; else it may be said again
	Reason  string `json:"reason"`
}

// Submit has a statement applied through one coordinator. It returns nil when
// it is in the log, a [*state.Refused] when the state machine refused it, and
// any other error when it should be said again.
func (h *Host) Submit(ctx context.Context, to identity.Address, s run.Signed) error {
	_, err := h.submit(ctx, to, s)
	return err
}

// submit is Submit; it returns the size of the coordinator's log, too.
func (h *Host) submit(ctx context.Context, to identity.Address, s run.Signed) (size uint64, err error) {
	b, err := s.Marshal()
	if err != nil {
		return 0, err
	}
	st, done, err := h.open(ctx, to, submitID)
	if err != nil {
		return 0, err
	}
	defer done()
	if err := writeFrame(st, b); err != nil {
		return 0, err
	}
	var v verdict
	if err := readDocument(st, &v, maxVerdict); err != nil {
		return 0, err
	}
	switch {
	case v.Applied:
		return v.Size, nil
	case v.Refused:
		return 0, &state.Refused{Kind: s.Statement.Kind(), Reason: v.Reason}
	}
	return 0, errors.New(v.Reason)
}

// serveSubmit answers submitID with propose and the log's size after it.
func (h *Host) serveSubmit(propose func(context.Context, run.Signed) error, size func() uint64) {
	h.handle(submitID, RoleStranger, func(ctx context.Context, s *stream) error {
		b, err := readFrame(s, run.MaxStatementSize)
		if err != nil {
			return err
		}
		statement, err := run.ParseSigned(b)
		if err == nil {
			err = h.bringer(s.peer, statement)
		}
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, submitTimeout)
			defer cancel()
			err = propose(ctx, statement)
		} else {
			err = &state.Refused{Kind: "statement", Reason: err.Error()}
		}
		v := verdict{Applied: err == nil, Size: size()}
		if err != nil {
			var refused *state.Refused
			if v.Refused = errors.As(err, &refused); v.Refused {
				v.Reason = refused.Reason
			} else {
				v.Reason = err.Error()
			}
		}
		return writeDocument(s, v)
	})
}

// bringer fails when a peer may not bring a statement. The log with all that
// was ever signed is public: what is not for ever, like a Ready, would mean
// something else if anybody could say it again later. Votes are collected from
// whoever brings them: they hold until their number is used.
func (h *Host) bringer(from identity.Address, s run.Signed) error {
	switch s.Statement.(type) {
	case run.Member, run.Control, run.Rewind, run.Revocation:
		return nil
	}
	signers, err := s.Signers(h.run)
	if err != nil {
		return err
	}
	if !slices.Equal(signers, []identity.Address{from}) {
		return fmt.Errorf("a %s counts only from the one who signed it; %s brought it", s.Statement.Kind(), from)
	}
	return nil
}
