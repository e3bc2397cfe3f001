package node

import (
	"fmt"
	"slices"
	"sync"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Limits of an entry in the book.
const (
	maxPeerAddresses = 16
	maxAddressSize   = 256 // characters of one multiaddr
	maxBook          = 1024
)

// Book is where peers can be reached: an address book from identities to peer
// IDs and multiaddrs. It is safe for concurrent use.
//
// Whoever answers at a multiaddr must prove the peer ID, so a wrong entry
// costs a dial and nothing else.
type Book struct {
	mu      sync.Mutex // guards entries
	entries map[identity.Address]peer.AddrInfo
}

// Contact is one line of the book as it travels between peers: multiaddrs
// that end in /p2p/ and the peer ID.
type Contact struct {
	Address identity.Address `json:"address"`
	At      []string         `json:"at"`
}

func newBook() *Book { return &Book{entries: map[identity.Address]peer.AddrInfo{}} }

// ParseContact reads multiaddrs of one peer, each ending in /p2p/ and its ID.
func ParseContact(at ...string) (identity.Address, peer.AddrInfo, error) {
	var info peer.AddrInfo
	if len(at) == 0 || len(at) > maxPeerAddresses {
		return identity.Address{}, info, fmt.Errorf("a peer with %d addresses, want 1 to %d", len(at), maxPeerAddresses)
	}
	for i, text := range at {
		if len(text) > maxAddressSize {
			return identity.Address{}, info, fmt.Errorf("multiaddr of %d characters, at most %d are allowed", len(text), maxAddressSize)
		}
		one, err := peer.AddrInfoFromString(text)
		if err != nil {
			return identity.Address{}, info, fmt.Errorf("peer %q: %w; want for example /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…", text, err)
		}
		if i > 0 && one.ID != info.ID {
			return identity.Address{}, info, fmt.Errorf("peer %q: another peer ID than %s", text, info.ID)
		}
		info = peer.AddrInfo{ID: one.ID, Addrs: append(info.Addrs, one.Addrs...)}
	}
	address, err := AddressOf(info.ID)
	return address, info, err
}

// Put replaces what the book says about a peer.
func (b *Book) Put(info peer.AddrInfo) error {
	address, err := AddressOf(info.ID)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.entries[address]; !known && len(b.entries) >= maxBook {
		return fmt.Errorf("address book: full with %d peers", maxBook)
	}
	b.entries[address] = peer.AddrInfo{ID: info.ID, Addrs: slices.Clone(info.Addrs)}
	return nil
}

// Find returns where a peer can be reached, and whether that is known.
func (b *Book) Find(address identity.Address) (peer.AddrInfo, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	info, ok := b.entries[address]
	return info, ok
}

// Contacts returns the book's lines, sorted by address.
func (b *Book) Contacts() []Contact {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Contact{}
	for address, info := range b.entries {
		if c := (Contact{address, full(info)}); len(c.At) > 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Contact) int { return a.Address.Compare(b.Address) })
	return out
}

// full returns a peer's multiaddrs with /p2p/ and its ID, at most
// maxPeerAddresses.
func full(info peer.AddrInfo) []string {
	var out []string
	for _, a := range info.Addrs[:min(len(info.Addrs), maxPeerAddresses)] {
		out = append(out, a.Encapsulate(multiaddr.StringCast("/p2p/"+info.ID.String())).String())
	}
	return out
}
