package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// peersID tells a peer where this one is and asks where the others are.
//
//	→ frame: Contact of the asker, with no multiaddrs if it only dials
//	← frame: contacts the peer knows, at most 1024
const peersID = protocol.ID("/allmend/1/peers")

const maxContacts = maxBook * maxPeerAddresses * maxAddressSize

type contacts struct {
	Peers []Contact `json:"peers"`
}

// Introduce exchanges contacts with a peer and learns what it says.
func (h *Host) Introduce(ctx context.Context, to identity.Address) error {
	s, done, err := h.open(ctx, to, peersID)
	if err != nil {
		return err
	}
	defer done()
	own := h.Contact()
	if own.At == nil {
		own.At = []string{}
	}
	if err := writeDocument(s, own); err != nil {
		return err
	}
	var theirs contacts
	if err := readDocument(s, &theirs, maxContacts); err != nil {
		return fmt.Errorf("contacts of peer %s: %w", to, err)
	}
	for _, c := range theirs.Peers {
		if err := h.learn(c); err != nil {
			return fmt.Errorf("contacts of peer %s: %w", to, err)
		}
	}
	return nil
}

// learn puts a contact into the book after checking that it is one key's.
func (h *Host) learn(c Contact) error {
	address, info, err := ParseContact(c.At...)
	if err != nil {
		return err
	}
	if address != c.Address {
		return fmt.Errorf("contact of %s names peer %s", c.Address, address)
	}
	return h.Learn(info)
}

// servePeers answers peersID. A peer speaks for its own place only; strangers
// are not remembered.
func (h *Host) servePeers() {
	h.handle(peersID, RoleStranger, func(_ context.Context, s *stream) error {
		var c Contact
		if err := readDocument(s, &c, maxPeerAddresses*maxAddressSize+maxHello); err != nil {
			return err
		}
		if len(c.At) > 0 && h.gate.role(s.peer) > RoleStranger {
			if c.Address != s.peer {
				return fmt.Errorf("peer %s introduces itself as %s", s.peer, c.Address)
			}
			if err := h.learn(c); err != nil {
				return err
			}
		}
		return writeDocument(s, contacts{h.Contacts()})
	})
}

// IntroduceAll exchanges contacts with every coordinator that can be reached.
func (h *Host) IntroduceAll(ctx context.Context) {
	var all sync.WaitGroup
	for _, c := range h.book.Contacts() {
		if h.gate.role(c.Address) == RoleCoordinator {
			all.Go(func() {
				if err := h.Introduce(ctx, c.Address); err != nil && ctx.Err() == nil {
					h.logger.Debug("no contacts from a coordinator", "coordinator", c.Address, "error", err)
				}
			})
		}
	}
	all.Wait()
}

// connectAll connects to every peer in the book.
func (h *Host) connectAll(ctx context.Context) {
	var all sync.WaitGroup
	for _, c := range h.book.Contacts() {
		if info, ok := h.book.Find(c.Address); ok && !h.Connected(c.Address) {
			all.Go(func() {
				if err := h.connect(ctx, info); err != nil && ctx.Err() == nil {
					h.logger.Debug("no connection to a peer", "peer", c.Address, "error", err)
				}
			})
		}
	}
	all.Wait()
}
