package node

import (
	"context"
	"fmt"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// followID streams the run's log and its heads as they grow. The log is public.
//
//	→ frame: followRequest
//	← frames: one byte and
//	    'r'  a record, the next one
//	    'h'  a signed head
//	    's'  followStatus: at the beginning, when the leader or the end changes, and
//	         every followPulse, so that silence means a dead peer
const followID = protocol.ID("/allmend/1/follow")

const (
	followPulse = 2 * time.Second
	followBatch = 64 // records read from disk at once
)

type followRequest struct {
	From uint64 `json:"from"` // records the asker has
}

// followStatus says what the follower cannot know from the log.
type followStatus struct {
	Size   uint64           `json:"size"`   // of the peer's log
	Leader identity.Address `json:"leader"` // of the coordinators; zero if unknown
	Over   bool             `json:"over"`   // the run is finished, and nobody is known to need those who took part
}

// logSource is a peer's copy of the log.
type logSource interface {
	Records() *coordinator.Records
	// Heads returns the heads from number n on, the number after them, and a
	// channel that is closed when there are more.
	Heads(n uint64) ([]run.Signed, uint64, <-chan struct{})
	Leader() identity.Address
	// Over reports whether the run is finished and its members may leave.
	Over() bool
}

// Followed is what a follower is told; exactly one field is set.
type Followed struct {
	Record []byte
	Head   *run.Signed
	Status *followStatus
}

// Follow calls each with everything a peer says of the log, from record number
// from on, until ctx or the stream ends or each fails. Nothing is checked.
func (h *Host) Follow(ctx context.Context, peer identity.Address, from uint64, each func(Followed) error) error {
	s, done, err := h.open(ctx, peer, followID)
	if err != nil {
		return err
	}
	defer done()
	s.timeout = 2 * followPulse // sooner than a leader loses patience with who hears nothing
	if err := writeDocument(s, followRequest{from}); err != nil {
		return err
	}
	for {
		b, err := readFrame(s, run.MaxRecordSize+1)
		if err != nil {
			return fmt.Errorf("following the log at %s: %w", peer, err)
		}
		f, err := parseFollowed(b)
		if err == nil {
			err = each(f)
		}
		if err != nil {
			return fmt.Errorf("following the log at %s: %w", peer, err)
		}
	}
}

func parseFollowed(b []byte) (Followed, error) {
	if len(b) == 0 {
		return Followed{}, fmt.Errorf("empty frame")
	}
	switch kind, body := b[0], b[1:]; kind {
	case 'r':
		return Followed{Record: body}, nil
	case 'h':
		s, err := run.ParseSigned(body)
		return Followed{Head: &s}, err
	case 's':
		var status followStatus
		err := canonical.Unmarshal(body, &status, maxHello)
		return Followed{Status: &status}, err
	default:
		return Followed{}, fmt.Errorf("frame of unknown kind %q", kind)
	}
}

// serveFollow answers followID from a peer's own log.
func (h *Host) serveFollow(log logSource) {
	h.handle(followID, RoleStranger, func(ctx context.Context, s *stream) error {
		var request followRequest
		if err := readDocument(s, &request, maxHello); err != nil {
			return err
		}
		f := &feed{s: s, log: log, next: request.From}
		for {
			if err := f.send(ctx); err != nil {
				return err
			}
		}
	})
}

// feed is one follower being served.
type feed struct {
	s      *stream
	log    logSource
	next   uint64 // record
	head   uint64 // number
	status followStatus
	told   time.Time
}

// send sends what is new, then waits until there is more or a pulse is due.
func (f *feed) send(ctx context.Context) error {
	if err := f.pulse(); err != nil {
		return err
	}
	records, grown, err := f.log.Records().Read(f.next, followBatch)
	if err != nil {
		return err
	}
	for _, b := range records {
		if err := f.frame('r', b); err != nil {
			return err
		}
		f.next++
	}
	if f.next < f.log.Records().Len() {
		return nil
	}
	heads, next, more := f.log.Heads(f.head)
	for _, s := range heads {
		b, err := s.Marshal()
		if err != nil {
			return err
		}
		if err := f.frame('h', b); err != nil {
			return err
		}
	}
	f.head = next
	select {
	case <-grown:
	case <-more:
	case <-time.After(lookEvery): // the leader, or the end, may be another
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// pulse says how things stand, at first, when something but the size changes,
// and now and then.
func (f *feed) pulse() error {
	status := followStatus{f.log.Records().Len(), f.log.Leader(), f.log.Over()}
	if status.Leader == f.status.Leader && status.Over == f.status.Over && time.Since(f.told) < followPulse {
		return nil
	}
	b, err := canonical.Marshal(status)
	if err != nil {
		return err
	}
	f.status, f.told = status, time.Now()
	return f.frame('s', b)
}

func (f *feed) frame(kind byte, b []byte) error {
	return writeFrame(f.s, append([]byte{kind}, b...))
}
