package node

import (
	"sync/atomic"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Role is what a peer is in the run.
type Role int

// A RoleStranger may read what is public: the log and the evidence.
const (
	RoleStranger Role = iota
	RoleAuditor
	RoleMember
	RoleCoordinator
)

// String returns the word people use.
func (r Role) String() string {
	return [...]string{"stranger", "auditor", "member", "coordinator"}[r]
}

// gate decides who may connect, once the other side has proved its key. What
// a connected peer may ask for is decided for each protocol.
type gate struct {
	roles     atomic.Pointer[func(identity.Address) Role] // of the run, as its log says now
	strangers int                                         // connections of strangers, at most
	count     func() int                                  // how many there are
}

var _ connmgr.ConnectionGater = (*gate)(nil)

func (g *gate) role(address identity.Address) Role {
	if f := g.roles.Load(); f != nil {
		return (*f)(address)
	}
	return RoleStranger
}

// InterceptPeerDial implements [connmgr.ConnectionGater].
func (g *gate) InterceptPeerDial(id peer.ID) bool {
	_, err := AddressOf(id)
	return err == nil
}

// InterceptAddrDial implements [connmgr.ConnectionGater].
func (g *gate) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return true }

// InterceptAccept implements [connmgr.ConnectionGater].
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements [connmgr.ConnectionGater].
func (g *gate) InterceptSecured(direction network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	address, err := AddressOf(id)
	if err != nil {
		return false
	}
	return direction == network.DirOutbound || g.role(address) > RoleStranger || g.count() < g.strangers
}

// InterceptUpgraded implements [connmgr.ConnectionGater].
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
