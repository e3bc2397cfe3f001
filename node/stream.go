package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// Version is that of the protocols between peers. Peers of different versions
// tell each other and part.
const Version = 1

const (
	maxHello      = 1 << 10
	streamTimeout = 10 * time.Second // for each read and write, unless a protocol says otherwise
)

// hello is the first frame of every stream, in both directions.
type hello struct {
	Version  int    `json:"version"`
	Software string `json:"software"`
	Run      run.ID `json:"run"`
	Refused  string `json:"refused"` // why the other side may not go on; empty if it may
}

// VersionError says that two peers' software cannot work together.
type VersionError struct {
	Peer           identity.Address
	Ours, Theirs   int
	TheirsSoftware string
}

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("peer %s runs %s with protocol version %d, this is version %d; update the older one", e.Peer, e.TheirsSoftware, e.Theirs, e.Ours)
}

// RefusedError is what the other side said when it refused.
type RefusedError struct {
	Peer   identity.Address
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("peer %s refuses: %s", e.Peer, e.Reason) }

// stream is a libp2p stream of frames after both hellos: a big-endian uint32
// length and that many bytes. Every read and write has a deadline.
type stream struct {
	network.Stream
	peer    identity.Address
	timeout time.Duration
}

// Read reads within the stream's timeout.
func (s *stream) Read(b []byte) (int, error) {
	if err := s.SetReadDeadline(time.Now().Add(s.timeout)); err != nil {
		return 0, err
	}
	return s.Stream.Read(b)
}

// Write writes within the stream's timeout.
func (s *stream) Write(b []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return 0, err
	}
	return s.Stream.Write(b)
}

// readFrame reads a frame of at most limit bytes.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if int64(n) > int64(limit) {
		return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("frame of %d bytes: %w", n, err)
	}
	return b, nil
}

// writeFrame writes b in one call.
func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readDocument(r io.Reader, v any, limit int) error {
	b, err := readFrame(r, limit)
	if err != nil {
		return err
	}
	return canonical.Unmarshal(b, v, limit)
}

func writeDocument(w io.Writer, v any) error {
	b, err := canonical.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, b)
}

func (h *Host) hello(refused string) hello {
	return hello{Version, h.software, h.run, refused}
}

// open dials a peer and exchanges hellos. The stream is reset when ctx ends;
// the caller calls done when it no longer needs the stream.
func (h *Host) open(ctx context.Context, to identity.Address, id protocol.ID) (*stream, func(), error) {
	s, err := h.dial(ctx, to, id)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	return s, func() { stop(); s.Reset() }, nil
}

// dial is open for a stream that outlives ctx.
func (h *Host) dial(ctx context.Context, to identity.Address, id protocol.ID) (*stream, error) {
	info, ok := h.book.Find(to)
	if !ok {
		return nil, fmt.Errorf("nobody has said yet where peer %s is", to)
	}
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	if err := h.connect(ctx, info); err != nil {
		return nil, err
	}
	raw, err := h.libp2p.NewStream(ctx, info.ID, id)
	if err != nil {
		return nil, h.explain(to, info.ID, id, err)
	}
	s := &stream{raw, to, streamTimeout}
	stop := context.AfterFunc(ctx, func() { raw.Reset() })
	defer stop()
	if err := h.greet(s); err != nil {
		return nil, errors.Join(h.explain(to, info.ID, id, err), raw.Reset())
	}
	return s, nil
}

// connect connects to a peer unless there is a connection. It does not back
// off after a failure, as libp2p does for seconds: a peer that has just
// restarted must be reached at once, and who calls waits between tries.
func (h *Host) connect(ctx context.Context, info peer.AddrInfo) error {
	if err := h.libp2p.Connect(network.WithForceDirectDial(ctx, "allmend"), info); err != nil {
		address, _ := AddressOf(info.ID)
		return fmt.Errorf("connecting to peer %s: %w", address, err)
	}
	return nil
}

// explain turns "no such protocol" into what a person can act on.
func (h *Host) explain(to identity.Address, peerID peer.ID, id protocol.ID, err error) error {
	if errors.As(err, new(multistream.ErrNotSupported[protocol.ID])) {
		agent, _ := h.libp2p.Peerstore().Get(peerID, "AgentVersion")
		return fmt.Errorf("peer %s (%v) does not speak %s; it plays another role or runs another version than %s", to, agent, id, h.software)
	}
	return err
}

// greet says hello first and reads the answer.
func (h *Host) greet(s *stream) error {
	if err := writeDocument(s, h.hello("")); err != nil {
		return fmt.Errorf("greeting peer %s: %w", s.peer, err)
	}
	var theirs hello
	if err := readDocument(s, &theirs, maxHello); err != nil {
		return fmt.Errorf("greeting of peer %s: %w", s.peer, err)
	}
	return h.judge(s.peer, theirs)
}

func (h *Host) judge(from identity.Address, theirs hello) error {
	switch {
	case theirs.Version != Version:
		return &VersionError{from, Version, theirs.Version, theirs.Software}
	case theirs.Refused != "":
		return &RefusedError{from, theirs.Refused}
	case theirs.Run != h.run:
		return fmt.Errorf("peer %s takes part in run %s, this is run %s", from, theirs.Run.Short(), h.run.Short())
	}
	return nil
}

// handle serves a protocol to peers that have at least a role. serve owns the
// stream until it returns; its error closes the stream and is logged.
func (h *Host) handle(id protocol.ID, least Role, serve func(ctx context.Context, s *stream) error) {
	h.libp2p.SetStreamHandler(id, func(raw network.Stream) {
		if !h.begin() {
			raw.Reset()
			return
		}
		defer h.serving.Done()
		from, err := AddressOf(raw.Conn().RemotePeer())
		if err != nil {
			raw.Reset()
			return
		}
		s := &stream{raw, from, streamTimeout}
		stop := context.AfterFunc(h.ctx, func() { raw.Reset() })
		defer stop()
		if err = h.welcome(s, id, least); err == nil {
			err = serve(h.ctx, s)
		}
		h.finish(s, id, err)
	})
}

// begin counts a stream in, unless the host is closing.
func (h *Host) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return false
	}
	h.serving.Add(1)
	return true
}

// welcome reads the other side's hello and answers it.
func (h *Host) welcome(s *stream, id protocol.ID, least Role) error {
	var theirs hello
	if err := readDocument(s, &theirs, maxHello); err != nil {
		return err
	}
	err := h.judge(s.peer, theirs)
	if role := h.gate.role(s.peer); err == nil && role < least {
		err = fmt.Errorf("%s is a %s in run %s; %s is for a %s", s.peer, role, h.run.Short(), id, least)
	}
	refused := ""
	if err != nil {
		refused = err.Error()
	}
	return errors.Join(err, writeDocument(s, h.hello(refused)))
}

func (h *Host) finish(s *stream, id protocol.ID, err error) {
	if err == nil || errors.Is(err, io.EOF) {
		s.Close()
		return
	}
	if h.ctx.Err() == nil {
		h.logger.Debug("closed a stream", "protocol", id, "peer", s.peer, "error", err)
	}
	// Close first so that a reason already written arrives; what the other
	// side still sends is not read.
	errors.Join(s.CloseWrite(), s.CloseRead())
}
