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

const reportEvery = time.Second

// report sends what now returns to one coordinator, once a second, until ctx or
// the stream ends.
func (h *Host) report(ctx context.Context, to identity.Address, now func() coordinator.Progress) error {
	s, done, err := h.open(ctx, to, progressID)
	if err != nil {
		return err
	}
	defer done()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		if err := writeDocument(s, now()); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serveProgress hands members' reports on.
func (h *Host) serveProgress(take func(identity.Address, coordinator.Progress)) {
	h.handle(progressID, Member, func(_ context.Context, s *stream) error {
		for {
			var p coordinator.Progress
			if err := readDocument(s, &p, maxHello); err != nil {
				return err
			}
			take(s.peer, p)
		}
	})
}
