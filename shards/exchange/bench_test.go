package exchange

import (
	"math/rand/v2"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/allmend-network/allmend/shards/storetest"
	"github.com/allmend-network/allmend/verify/digest"
)

// BenchmarkFetch moves 128 blocks of 1 MiB between two hosts on loopback.
func BenchmarkFetch(b *testing.B) {
	const n = 128
	var held storetest.Memory
	sums := make([]digest.Sum, n)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range sums {
		block := make([]byte, digest.BlockSize)
		for j := 0; j < len(block); j += 8 {
			block[j] = byte(rng.Uint32())
		}
		sum, err := held.Put(block)
		if err != nil {
			b.Fatal(err)
		}
		sums[i] = sum
	}
	hosts := make([]host.Host, 2)
	for i := range hosts {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
		if err != nil {
			b.Fatal(err)
		}
		defer h.Close()
		hosts[i] = h
	}
	server := New(b.Context(), hosts[0], Config{Store: &held, Allow: everyone})
	defer server.Close()
	if err := hosts[1].Connect(b.Context(), peer.AddrInfo{ID: hosts[0].ID(), Addrs: hosts[0].Addrs()}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(n * digest.BlockSize)
	for b.Loop() {
		client := New(b.Context(), hosts[1], Config{Store: new(storetest.Memory)})
		if err := client.Fetch(b.Context(), sums, nil, nil); err != nil {
			b.Fatal(err)
		}
		if err := client.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
