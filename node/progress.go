package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// progressID carries a member's reports to a coordinator, one a second.
//
//	→ frame: reporter
//	← frame: admission
//	→ frames: coordinator.Progress, at most 1 KiB
const progressID = protocol.ID("/allmend/1/progress")

const (
	reportEvery = time.Second
	reportGap   = 100 * time.Millisecond // between reports, at least
)

// reporter names the process that reports: two under one key would spoil each
// other's rings.
type reporter struct {
	Process string `json:"process"` // 16 random hexadecimal digits
}

type admission struct {
	Refused string `json:"refused"` // why; empty if not
}

// report sends what now returns to one coordinator, once a second and soon
// after its channel is closed, until ctx or the stream ends.
func (h *Host) report(ctx context.Context, to identity.Address, process uint64, now func() (coordinator.Progress, <-chan struct{})) error {
	s, done, err := h.open(ctx, to, progressID)
	if err != nil {
		return err
	}
	defer done()
	if err := writeDocument(s, reporter{fmt.Sprintf("%016x", process)}); err != nil {
		return err
	}
	var a admission
	if err := readDocument(s, &a, maxHello); err != nil {
		return err
	}
	if a.Refused != "" {
		return &SameKeyError{to, a.Refused}
	}
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

// SameKeyError says that another process takes part under this one's key.
type SameKeyError struct {
	Coordinator identity.Address
	Reason      string
}

// Error implements error.
func (e *SameKeyError) Error() string {
	return fmt.Sprintf("coordinator %s refuses: %s", e.Coordinator, e.Reason)
}

// serveProgress hands members' reports on, of processes that admit admits.
func (h *Host) serveProgress(admit func(identity.Address, uint64) error, take func(identity.Address, coordinator.Progress)) {
	h.handle(progressID, RoleMember, func(_ context.Context, s *stream) error {
		var r reporter
		if err := readDocument(s, &r, maxHello); err != nil {
			return err
		}
		process, err := strconv.ParseUint(r.Process, 16, 64)
		if err == nil {
			err = admit(s.peer, process)
		}
		var a admission
		if err != nil {
			a.Refused = err.Error()
		}
		if err := errors.Join(err, writeDocument(s, a)); err != nil {
			return err
		}
		for {
			var p coordinator.Progress
			if err := readDocument(s, &p, maxHello); err != nil {
				return err
			}
			take(s.peer, p)
		}
	})
}
