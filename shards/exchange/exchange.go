package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/message"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

const (
	// outstanding is how many bytes may be on the way to one peer, and
	// messageSize how many one message aims at: with bitswap's own defaults a
	// link of 1 MiB blocks stands still half of the time.
	outstanding = 16 << 20
	messageSize = 1 << 20
	// defaultPatience is how long Fetch waits for the next block.
	defaultPatience = 30 * time.Second
)

// Config is what an Exchange serves and to whom.
type Config struct {
	Store shards.Store // blocks to serve; what is fetched goes in here
	// Allow decides who may be served what. nil: nobody anything.
	Allow Gate
	// Patience is how long Fetch goes without any block before it gives up;
	// 0 means 30 s.
	Patience time.Duration
	// Blame, if not nil, is told of a peer that sent what it was not asked for,
	// which is how a block with a flipped bit looks. It is asked for nothing
	// more until it connects again.
	Blame  func(peer.ID, error)
	Logger *slog.Logger // nil: silent
}

// Exchange moves blocks between the peers of a host. It is a shards.Store: Get
// asks the connected peers for a block that the store lacks.
type Exchange struct {
	config  Config
	host    host.Host
	bitswap *bitswap.Bitswap

	done  chan struct{}  // closed by Close
	blame sync.WaitGroup // goroutines of accuse; none is added once closed is set

	mu     sync.Mutex
	asked  map[digest.Sum]bool // guarded by mu; all blocks ever asked for
	closed bool                // guarded by mu
}

// New starts to serve blocks on h, which stays the caller's, until
// [Exchange.Close].
func New(ctx context.Context, h host.Host, config Config) *Exchange {
	if config.Patience == 0 {
		config.Patience = defaultPatience
	}
	if config.Allow == nil {
		config.Allow = func(peer.ID, digest.Sum) bool { return false }
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Exchange{config: config, host: h, asked: make(map[digest.Sum]bool), done: make(chan struct{})}
	x.bitswap = bitswap.New(ctx, bsnet.NewFromIpfsHost(h), nil, blockstore{config.Store, config.Logger},
		bitswap.MaxOutstandingBytesPerPeer(outstanding),
		bitswap.WithTargetMessageSize(messageSize),
		bitswap.WithPeerBlockRequestFilter(func(p peer.ID, c cid.Cid) bool {
			sum, err := Sum(c)
			return err == nil && config.Allow(p, sum)
		}),
		bitswap.WithoutDuplicatedBlockStats(),
		bitswap.WithTracer(watcher{x}),
	)
	return x
}

// Close stops serving and fails what is being fetched.
func (x *Exchange) Close() error {
	x.mu.Lock()
	again := x.closed
	x.closed = true
	x.mu.Unlock()
	if again {
		return nil
	}
	close(x.done)
	x.blame.Wait()
	return x.bitswap.Close()
}

// Size implements [shards.Blocks]: of what the store holds.
func (x *Exchange) Size(sum digest.Sum) (int, bool) { return x.config.Store.Size(sum) }

// Put implements [shards.Store].
func (x *Exchange) Put(block []byte) (digest.Sum, error) { return x.config.Store.Put(block) }

// Get implements [shards.Blocks]. It fetches a block that the store lacks from
// the connected peers; for more than one, [Exchange.Prefetch] is much faster.
func (x *Exchange) Get(ctx context.Context, sum digest.Sum) ([]byte, error) {
	b, err := x.config.Store.Get(ctx, sum)
	if missing := (*shards.MissingError)(nil); !errors.As(err, &missing) {
		return b, err
	}
	if fetchErr := x.Prefetch(ctx, []digest.Sum{sum}); fetchErr != nil {
		return nil, fmt.Errorf("%w: %w", fetchErr, err)
	}
	return x.config.Store.Get(ctx, sum)
}

// Prefetch implements [shards.Prefetcher].
func (x *Exchange) Prefetch(ctx context.Context, sums []digest.Sum) error {
	return x.Fetch(ctx, sums, nil, nil)
}

// watcher sees every message before bitswap does.
type watcher struct{ x *Exchange }

func (w watcher) MessageSent(peer.ID, message.BitSwapMessage) {}

// MessageReceived looks for blocks that were never asked for. Bitswap names a
// block by the bytes it came with, so it would only drop them and wait.
func (w watcher) MessageReceived(from peer.ID, m message.BitSwapMessage) {
	for _, b := range m.Blocks() {
		sum, err := Sum(b.Cid())
		if err == nil && w.x.wasAsked(sum) {
			continue
		}
		w.x.accuse(from, fmt.Errorf("peer %s sent block %s, which nobody asked it for", from, b.Cid()))
		return
	}
}

func (x *Exchange) wasAsked(sum digest.Sum) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked[sum]
}

// accuse takes what was asked of a peer away from it. It runs aside, since it
// is called from within bitswap.
func (x *Exchange) accuse(p peer.ID, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	x.blame.Go(func() {
		x.config.Logger.Warn("a peer serves wrong blocks", "peer", p, "error", err)
		x.bitswap.Client.PeerDisconnected(p)
		if x.config.Blame != nil {
			x.config.Blame(p, err)
		}
	})
}
