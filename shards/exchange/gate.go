package exchange

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

// Gate says whether a peer may be served a block. It is called concurrently
// and must not block.
type Gate func(peer.ID, digest.Sum) bool

// ManifestGate returns the gate of one shard folder: its blocks and its
// manifest for the peers that served says, those of the dropped file for the
// peers that admitted says, nothing else for anyone.
func ManifestGate(m shards.Manifest, served, admitted func(peer.ID) bool) (Gate, error) {
	name, err := m.Digest()
	if err != nil {
		return nil, err
	}
	open := map[digest.Sum]bool{name: true}
	for _, sum := range m.Blocks() {
		open[sum] = true
	}
	restricted := m.Restricted()
	for sum := range restricted {
		delete(open, sum)
	}
	return func(p peer.ID, sum digest.Sum) bool {
		return open[sum] && served(p) || restricted[sum] && admitted(p)
	}, nil
}
