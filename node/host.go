package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/gologshim"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
)

// DefaultStrangers is how many peers outside the run may be connected at once.
const DefaultStrangers = 32

// HostConfig says how one peer appears on the network.
type HostConfig struct {
	Key      identity.Key
	Run      run.ID
	Software string   // name and version, for messages: "allmend/0.1.0"
	Listen   []string // multiaddrs, for example /ip4/0.0.0.0/tcp/4001; none: this peer only dials
	Announce []string // multiaddrs to tell others instead of those listened on
	Peers    []string // multiaddrs with /p2p/ of peers to begin with
	// Strangers bounds the connections of peers outside the run, who may read
	// the log and the evidence. 0 means none.
	Strangers int
	// Prefixes allow more than 8 connections from one IPv4 address or IPv6
	// /56, as an institution behind one address needs.
	Prefixes []Prefix
	Logger   *slog.Logger // required
}

// Prefix is a network from which many connections are expected.
type Prefix struct {
	Network     netip.Prefix
	Connections int
}

// Host is one peer's end of the run's network: a libp2p host with the run's
// key, gated to the run's peers, speaking the run's protocols.
type Host struct {
	run      run.ID
	self     identity.Address
	software string
	logger   *slog.Logger
	libp2p   host.Host
	opened   chan struct{} // closed when libp2p is set, or never will be
	gate     *gate
	book     *Book
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	named    []identity.Address // of HostConfig.Peers
	mu       sync.Mutex         // held while serving grows and while ctx ends
	serving  sync.WaitGroup     // one for each stream being served
	given    atomic.Int64       // when an object was served last, in Unix nanoseconds
}

// OpenHost starts a host. Nothing is dialled yet.
func OpenHost(cfg HostConfig) (*Host, error) {
	key, err := hostKey(cfg.Key)
	if err != nil {
		return nil, err
	}
	limiter, err := limits(cfg.Prefixes)
	if err != nil {
		return nil, err
	}
	h := &Host{
		run: cfg.Run, self: cfg.Key.Address(), software: cfg.Software, logger: cfg.Logger,
		opened: make(chan struct{}), gate: &gate{strangers: cfg.Strangers}, book: newBook(),
	}
	defer close(h.opened)
	h.gate.count = h.strangers
	h.ctx, h.cancel = context.WithCancel(context.Background())
	hush()
	for _, text := range cfg.Peers {
		address, info, err := ParseContact(text)
		if err == nil {
			err = h.Learn(info)
		}
		if err != nil {
			return nil, err
		}
		h.named = append(h.named, address)
	}
	options := []libp2p.Option{
		libp2p.Identity(key), libp2p.UserAgent(cfg.Software),
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()), libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2p.Security(noise.ID, noise.New),
		libp2p.ResourceManager(limiter), libp2p.ConnectionGater(h.gate),
		// Nothing phones home: no relays, no metrics, no probing of our
		// reachability by others, no DHT, no mDNS.
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ForceReachabilityPublic(), libp2p.DisableIdentifyAddressDiscovery(),
	}
	addressing, err := addressing(cfg.Listen, cfg.Announce)
	if err != nil {
		return nil, err
	}
	if h.libp2p, err = libp2p.New(append(options, addressing...)...); err != nil {
		return nil, errors.Join(taken(cfg.Listen, err), limiter.Close())
	}
	if missing := h.deaf(cfg.Listen); len(missing) > 0 {
		return nil, errors.Join(taken(missing, nil), h.libp2p.Close())
	}
	return h, nil
}

// deaf returns the addresses that were asked for and are not listened on:
// libp2p is content with one of several.
func (h *Host) deaf(listen []string) []string {
	on := h.libp2p.Network().ListenAddresses()
	return slices.DeleteFunc(slices.Clone(listen), func(text string) bool {
		want := multiaddr.StringCast(text)
		port, err := want.ValueForProtocol(multiaddr.P_TCP)
		return err == nil && port == "0" || slices.ContainsFunc(on, want.Equal)
	})
}

// taken explains why nobody can be heard at an address. Two processes could
// share a port if both agreed (libp2p's reuseport); each would miss half of its
// peers, so ours do not.
func taken(listen []string, err error) error {
	const advice = "if another process listens there, stop it or give this one another --listen, for example with another port"
	if err == nil {
		return fmt.Errorf("cannot listen on %s: %s", strings.Join(listen, ", "), advice)
	}
	return fmt.Errorf("cannot listen on %s: %w; %s", strings.Join(listen, ", "), err, advice)
}

// hush keeps libp2p and boxo from writing to standard error by themselves, the
// first time that a process makes a host. What matters comes back as an error.
var hush = sync.OnceFunc(func() {
	gologshim.SetDefaultHandler(slog.DiscardHandler)
	golog.SetupLogging(golog.Config{Level: golog.LevelFatal})
})

func addressing(listen, announce []string) ([]libp2p.Option, error) {
	if len(listen) == 0 {
		return []libp2p.Option{libp2p.NoListenAddrs}, nil
	}
	for _, text := range listen {
		if _, err := multiaddr.NewMultiaddr(text); err != nil {
			return nil, fmt.Errorf("listen address %q: %w; want for example /ip4/0.0.0.0/tcp/4001", text, err)
		}
	}
	options := []libp2p.Option{libp2p.ListenAddrStrings(listen...)}
	if len(announce) == 0 {
		return options, nil
	}
	var out []multiaddr.Multiaddr
	for _, text := range announce {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return nil, fmt.Errorf("announce address %q: %w; want for example /dns4/gpu1.example.org/tcp/4001", text, err)
		}
		out = append(out, a)
	}
	return append(options, libp2p.AddrsFactory(func([]multiaddr.Multiaddr) []multiaddr.Multiaddr { return out })), nil
}

// limits returns libp2p's default limits, scaled to this machine, with those
// of the prefixes. Loopback has no limit on connections from one address.
func limits(prefixes []Prefix) (network.ResourceManager, error) {
	v4 := slices.Clone(rcmgr.DefaultNetworkPrefixLimitV4)
	v6 := slices.Clone(rcmgr.DefaultNetworkPrefixLimitV6)
	for _, p := range prefixes {
		if !p.Network.IsValid() || p.Connections < 1 || p.Connections > math.MaxInt32 {
			return nil, fmt.Errorf("prefix %s with %d connections: want a network and at least 1", p.Network, p.Connections)
		}
		limit := rcmgr.NetworkPrefixLimit{Network: p.Network, ConnCount: p.Connections}
		if p.Network.Addr().Is4() {
			v4 = append(v4, limit)
		} else {
			v6 = append(v6, limit)
		}
	}
	base := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&base)
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(base.AutoScale()),
		rcmgr.WithMetricsDisabled(), rcmgr.WithNetworkPrefixLimit(v4, v6))
	if err != nil {
		return nil, fmt.Errorf("network limits: %w", err)
	}
	return manager, nil
}

// Self returns this peer's address.
func (h *Host) Self() identity.Address { return h.self }

// Libp2p returns the libp2p host, for the exchange of blocks.
func (h *Host) Libp2p() host.Host { return h.libp2p }

// SetRoles tells the host who is who from now on.
func (h *Host) SetRoles(roles func(identity.Address) Role) { h.gate.roles.Store(&roles) }

// follow takes who is who from the run's log.
func (h *Host) follow(spec run.Spec, v state.View) { h.SetRoles(roles(spec, v, h.named)) }

// Role returns what a peer is in the run.
func (h *Host) Role(address identity.Address) Role { return h.gate.role(address) }

// served returns who may be served what is for peers of at least a role.
func (h *Host) served(least Role) func(peer.ID) bool {
	return func(id peer.ID) bool {
		address, err := AddressOf(id)
		return err == nil && h.gate.role(address) >= least
	}
}

// blame notes a peer that sent other bytes than it was asked for.
func (h *Host) blame(id peer.ID, err error) {
	address, _ := AddressOf(id)
	h.logger.Warn("a peer sent bytes it was not asked for", "peer", address, "error", err)
}

// Contact returns where this peer says it can be reached.
func (h *Host) Contact() Contact {
	return Contact{h.self, full(peer.AddrInfo{ID: h.libp2p.ID(), Addrs: h.libp2p.Addrs()})}
}

// Learn puts a peer into the book, unless it is this one.
func (h *Host) Learn(info peer.AddrInfo) error {
	if address, err := AddressOf(info.ID); err == nil && address == h.self {
		return nil
	}
	return h.book.Put(info)
}

// Contacts returns everybody this host knows how to reach, and itself.
func (h *Host) Contacts() []Contact {
	own := h.Contact()
	contacts := h.book.Contacts()
	if len(own.At) > 0 {
		contacts = append(contacts, own)
	}
	return contacts
}

// Connected reports whether there is a connection to a peer.
func (h *Host) Connected(address identity.Address) bool {
	info, ok := h.book.Find(address)
	return ok && h.libp2p.Network().Connectedness(info.ID) == network.Connected
}

// strangers counts the strangers that are connected. Peers may come while the
// host is still being made: they wait.
func (h *Host) strangers() int {
	<-h.opened
	if h.libp2p == nil {
		return math.MaxInt
	}
	n := 0
	for _, id := range h.libp2p.Network().Peers() {
		if address, err := AddressOf(id); err != nil || h.gate.role(address) == RoleStranger {
			n++
		}
	}
	return n
}

// Close ends every stream and connection and waits until all are done.
func (h *Host) Close() error {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	err := h.libp2p.Close()
	h.serving.Wait()
	return err
}
