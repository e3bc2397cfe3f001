package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

// Blocks are asked for in chunks, of which some are under way at once: enough
// that the 20 ms before each request do not count, few enough to hold in
// memory (at most 128 MiB) when the disk is slower than the network.
const (
	chunkBlocks = 64
	chunks      = 2
)

// StalledError says that blocks did not come.
type StalledError struct {
	Missing int        // blocks that are still missing
	First   digest.Sum // one of them
	Peers   int        // connected peers that were asked
	Cause   error      // why the waiting ended
}

func (e *StalledError) Error() string {
	return fmt.Sprintf("%d blocks did not come, %s among them, though %d peers were asked: they lack them, or do not serve them to this node's key (members and admitted keys only): %v",
		e.Missing, e.First, e.Peers, e.Cause)
}

// Unwrap returns why the waiting ended.
func (e *StalledError) Unwrap() error { return e.Cause }

var errPatience = errors.New("no block came for as long as the patience lasts")

// Fetch gets blocks from peers into the store, many at once, and returns when
// it holds all of them. The peers in from are connected first, if their
// addresses are known; with none given the connected peers are asked. progress,
// if not nil, is told how many of the blocks are held. It fails with
// *StalledError when ctx ends or no block comes for the configured patience;
// what came stays in the store.
func (x *Exchange) Fetch(ctx context.Context, sums []digest.Sum, from []peer.ID, progress func(held, total int)) error {
	if progress == nil {
		progress = func(int, int) {}
	}
	total, missing, err := x.missing(sums)
	if err != nil {
		return err
	}
	progress(total-len(missing), total)
	if len(missing) == 0 {
		return nil
	}
	if err := x.connect(ctx, from); err != nil {
		return err
	}
	f := &fetch{x: x, total: total, held: total - len(missing), progress: progress, wanted: make(map[digest.Sum]bool, len(missing))}
	x.mu.Lock()
	for _, sum := range missing {
		f.wanted[sum] = true
		x.asked[sum] = true
	}
	x.mu.Unlock()
	return f.run(ctx, missing)
}

// missing returns the number of distinct sums and those that the store lacks.
// The empty block, which bitswap does not carry, nobody needs to send.
func (x *Exchange) missing(sums []digest.Sum) (total int, missing []digest.Sum, err error) {
	seen := make(map[digest.Sum]bool, len(sums))
	for _, sum := range sums {
		if seen[sum] {
			continue
		}
		seen[sum] = true
		if _, ok := x.config.Store.Size(sum); ok {
			continue
		}
		if sum != digest.Of(nil) {
			missing = append(missing, sum)
		} else if _, err := x.config.Store.Put(nil); err != nil {
			return 0, nil, fmt.Errorf("keep the empty block: %w", err)
		}
	}
	return len(seen), missing, nil
}

// connect makes sure that a peer of from is connected, or any peer at all.
func (x *Exchange) connect(ctx context.Context, from []peer.ID) error {
	var failures []error
	for _, p := range from {
		if err := x.host.Connect(ctx, peer.AddrInfo{ID: p}); err != nil {
			failures = append(failures, fmt.Errorf("connect to peer %s: %w", p, err))
		}
	}
	if len(from) > 0 && len(failures) == len(from) {
		return fmt.Errorf("no peer to fetch blocks from: %w", errors.Join(failures...))
	}
	if len(x.host.Network().Peers()) == 0 {
		return errors.New("no peer to fetch blocks from: this host is connected to none")
	}
	return nil
}

// fetch is one call of Fetch.
type fetch struct {
	x     *Exchange
	total int

	mu       sync.Mutex
	wanted   map[digest.Sum]bool   // guarded by mu
	held     int                   // guarded by mu
	progress func(held, total int) // called under mu, so that it counts upwards
}

func (f *fetch) run(ctx context.Context, missing []digest.Sum) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(f.x.config.Patience, func() { cancel(errPatience) })
	defer watchdog.Stop()
	queue := make(chan []digest.Sum)
	var workers sync.WaitGroup
	for range chunks {
		workers.Go(func() {
			for chunk := range queue {
				if err := f.chunk(ctx, chunk, watchdog); err != nil {
					cancel(err)
				}
			}
		})
	}
	for len(missing) > 0 {
		n := min(len(missing), chunkBlocks)
		queue <- missing[:n]
		missing = missing[n:]
	}
	close(queue)
	workers.Wait()
	return f.verdict(ctx)
}

// verdict says how it went.
func (f *fetch) verdict(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wanted) == 0 {
		return nil
	}
	cause := context.Cause(ctx)
	if cause == nil {
		cause = errors.New("bitswap ended the session")
	}
	err := &StalledError{Missing: len(f.wanted), Peers: len(f.x.host.Network().Peers()), Cause: cause}
	for sum := range f.wanted {
		if err.First.IsZero() || sum.String() < err.First.String() {
			err.First = sum
		}
	}
	return err
}

// chunk fetches some blocks. It returns early only when ctx or the exchange ends.
func (f *fetch) chunk(ctx context.Context, sums []digest.Sum, watchdog *time.Timer) error {
	keys := make([]cid.Cid, len(sums))
	for i, sum := range sums {
		keys[i] = CID(sum)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrivals, err := f.x.bitswap.NewSession(ctx).GetBlocks(ctx, keys)
	if err != nil {
		return fmt.Errorf("bitswap: %w", err)
	}
	for {
		select {
		case b, ok := <-arrivals:
			if !ok {
				return nil
			}
			if err := f.store(b); err != nil {
				return err
			}
			watchdog.Reset(f.x.config.Patience)
		case <-f.x.done:
			return errors.New("the exchange was closed")
		}
	}
}

// store checks and keeps one block.
func (f *fetch) store(b blocks.Block) error {
	want, err := Sum(b.Cid())
	if err != nil {
		return err
	}
	if got := digest.Of(b.RawData()); got != want {
		return &shards.MismatchError{What: "block " + want.String() + " from a peer", Got: "bytes of sha256 " + got.String(), Want: want.String()}
	}
	if _, err := f.x.config.Store.Put(b.RawData()); err != nil {
		return fmt.Errorf("keep block %s: %w", want, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wanted[want] {
		delete(f.wanted, want)
		f.held++
		f.progress(f.held, f.total)
	}
	return nil
}

// FetchManifest gets the manifest of the given digest. One larger than a block
// does not fit through bitswap.
func (x *Exchange) FetchManifest(ctx context.Context, name digest.Sum, from []peer.ID) (shards.Manifest, error) {
	if err := x.Fetch(ctx, []digest.Sum{name}, from, nil); err != nil {
		return shards.Manifest{}, fmt.Errorf("shard manifest %s: %w", name, err)
	}
	b, err := x.config.Store.Get(ctx, name)
	if err != nil {
		return shards.Manifest{}, fmt.Errorf("shard manifest %s: %w", name, err)
	}
	return shards.ParseManifest(b)
}

// FetchShards gets the blocks of all files of a manifest, or of files of the
// given kinds.
func (x *Exchange) FetchShards(ctx context.Context, m shards.Manifest, from []peer.ID, progress func(held, total int), kinds ...shards.Kind) error {
	if err := x.Fetch(ctx, m.Blocks(kinds...), from, progress); err != nil {
		return fmt.Errorf("shards %q: %w", m.Name, err)
	}
	return nil
}
