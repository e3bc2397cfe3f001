package node

import (
	"context"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// progressID carries a member's reports to a coordinator, one a second.
//
//	→ frames: coordinator.Progress, at most 1 KiB
const progressID = protocol.ID("/allmend/1/progress")

const (
	reportEvery = time.Second
	reportGap   = 100 * time.Millisecond // between reports, at least
)

// report sends what now returns to one coordinator, once a second and soon
// after its channel is closed, until ctx or the stream ends.
func (h *Host) report(ctx context.Context, to identity.Address, now func() (coordinator.Progress, <-chan struct{})) error {
	s, done, err := h.open(ctx, to, progressID)
	if err != nil {
		return err
	}
	defer done()
	for {
		p, changed := now()
		if err := writeDocument(s, p); err != nil {
			return err
		}
		due := time.NewTimer(reportEvery)
		select {
		case <-time.After(reportGap):
		case <-ctx.Done():
		}
		select {
		case <-due.C:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serveProgress hands members' reports on.
func (h *Host) serveProgress(take func(identity.Address, coordinator.Progress)) {
	h.handle(progressID, RoleMember, func(_ context.Context, s *stream) error {
		for {
			var p coordinator.Progress
			if err := readDocument(s, &p, maxHello); err != nil {
				return err
			}
			take(s.peer, p)
		}
	})
}
