package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// raftID is the protocol of coordinators among themselves. What it carries is
// the coordinator's business (see package coordinator); here both sides' keys
// are proved and the hellos exchanged.
const raftID = protocol.ID("/allmend/1/raft")

// raftNetwork is a coordinator.Network over libp2p streams.
type raftNetwork struct{ *Host }

// Dial implements coordinator.Network.
func (n raftNetwork) Dial(ctx context.Context, to identity.Address) (net.Conn, error) {
	s, err := n.dial(ctx, to, raftID)
	if err != nil {
		return nil, err
	}
	return raftConn{s.Stream, n.self, to, func() {}}, nil
}

// Listen implements coordinator.Network.
func (n raftNetwork) Listen() (net.Listener, error) {
	l := &raftListener{host: n.Host, conns: make(chan net.Conn)}
	l.ctx, l.cancel = context.WithCancel(n.ctx)
	n.handle(raftID, RoleCoordinator, l.accept)
	return l, nil
}

type raftListener struct {
	host   *Host
	conns  chan net.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

// accept hands a stream to the coordinator and keeps it until it is closed.
func (l *raftListener) accept(_ context.Context, s *stream) error {
	closed := make(chan struct{})
	select {
	case l.conns <- raftConn{s.Stream, l.host.self, s.peer, sync.OnceFunc(func() { close(closed) })}:
	case <-l.ctx.Done():
		return errors.New("this coordinator is closing")
	}
	<-closed
	return nil
}

// Accept implements [net.Listener].
func (l *raftListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, fmt.Errorf("listening for coordinators: %w", net.ErrClosed)
	}
}

// Close implements [net.Listener].
func (l *raftListener) Close() error {
	l.host.libp2p.RemoveStreamHandler(raftID)
	l.cancel()
	return nil
}

// Addr implements [net.Listener].
func (l *raftListener) Addr() net.Addr { return keyAddr(l.host.self) }

// raftConn is a stream as a connection between two keys.
type raftConn struct {
	network.Stream
	local, remote identity.Address
	closed        func()
}

// LocalAddr implements [net.Conn].
func (c raftConn) LocalAddr() net.Addr { return keyAddr(c.local) }

// RemoteAddr implements [net.Conn]: the address of the key that the other side
// proved.
func (c raftConn) RemoteAddr() net.Addr { return keyAddr(c.remote) }

// Close ends both directions; what was written still goes.
func (c raftConn) Close() error {
	defer c.closed()
	return c.Stream.Close()
}

type keyAddr identity.Address

func (keyAddr) Network() string  { return "libp2p" }
func (a keyAddr) String() string { return identity.Address(a).String() }
