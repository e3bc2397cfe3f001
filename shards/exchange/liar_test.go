package exchange

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/ipfs/boxo/bitswap/message"
	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	blocks "github.com/ipfs/go-block-format"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/allmend-network/allmend/shards/storetest"
	"github.com/allmend-network/allmend/verify/digest"
)

// liar is a peer that says it has every block and sends each with a flipped bit.
type liar struct {
	net   network.BitSwapNetwork
	store *storetest.Memory

	mu   sync.Mutex
	sent int // guarded by mu; false blocks
}

func newLiar(t *testing.T, h host.Host, store *storetest.Memory) *liar {
	t.Helper()
	l := &liar{net: bsnet.NewFromIpfsHost(h), store: store}
	l.net.Start(l)
	t.Cleanup(l.net.Stop)
	return l
}

func (l *liar) ReceiveError(error)       {}
func (l *liar) PeerConnected(peer.ID)    {}
func (l *liar) PeerDisconnected(peer.ID) {}

func (l *liar) ReceiveMessage(ctx context.Context, from peer.ID, m message.BitSwapMessage) {
	answer := message.New(false)
	for _, want := range m.Wantlist() {
		sum, err := Sum(want.Cid)
		if err != nil || want.Cancel {
			continue
		}
		if want.WantType == pb.Message_Wantlist_Have {
			answer.AddHave(want.Cid)
			continue
		}
		b, err := l.store.Get(ctx, sum)
		if err != nil {
			continue
		}
		b[len(b)-1] ^= 0x20
		answer.AddBlock(blocks.NewBlock(b))
		l.mu.Lock()
		l.sent++
		l.mu.Unlock()
	}
	if !answer.Empty() {
		l.net.SendMessage(ctx, from, answer) // a liar does not mind whether it arrives
	}
}

func TestLiarIsNamedAndPassedOver(t *testing.T) {
	blocks, sums := manyBlocks(200)
	honest, lying, client := newHost(t), newHost(t), newHost(t)
	newExchange(t, honest, Config{Store: memory(t, blocks), Allow: everyone})
	l := newLiar(t, lying, memory(t, blocks))
	blamed := make(chan peer.ID, 1000)
	store := new(storetest.Memory)
	x := newExchange(t, client, Config{Store: store, Blame: func(p peer.ID, err error) { blamed <- p }})
	if err := x.Fetch(t.Context(), sums, know(client, lying, honest), nil); err != nil {
		t.Fatal(err)
	}
	checkHeld(t, store, blocks)
	l.mu.Lock()
	sent := l.sent
	l.mu.Unlock()
	if sent == 0 {
		t.Skip("the liar was asked for nothing this time")
	}
	if p := <-blamed; p != lying.ID() {
		t.Errorf("blamed %s, want %s", p, lying.ID())
	}
	for _, b := range blocks {
		if len(b) == 0 {
			continue
		}
		false_ := bytes.Clone(b)
		false_[len(b)-1] ^= 0x20
		if _, ok := store.Size(digest.Of(false_)); ok {
			t.Fatal("a false block was stored")
		}
	}
}

func TestLiarAlone(t *testing.T) {
	blocks, sums := manyBlocks(5)
	lying, client := newHost(t), newHost(t)
	newLiar(t, lying, memory(t, blocks))
	blamed := make(chan peer.ID, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x := newExchange(t, client, Config{Store: new(storetest.Memory), Blame: func(p peer.ID, err error) { blamed <- p; cancel() }})
	if err := x.Fetch(ctx, sums, know(client, lying), nil); err == nil {
		t.Fatal("fetched true blocks from a liar")
	}
	if p := <-blamed; p != lying.ID() {
		t.Errorf("blamed %s, want %s", p, lying.ID())
	}
}
