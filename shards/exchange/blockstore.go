package exchange

import (
	"context"
	"errors"
	"log/slog"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/allmend-network/allmend/shards"
)

// blockstore shows a shards.Blocks to bitswap's server. Nothing is written
// through it: Fetch stores blocks itself, once it has hashed them.
type blockstore struct {
	blocks shards.Blocks
	logger *slog.Logger
}

var errReadOnly = errors.New("bitswap may not write to this store")

func (b blockstore) Has(_ context.Context, c cid.Cid) (bool, error) {
	sum, err := Sum(c)
	if err != nil {
		return false, nil
	}
	_, ok := b.blocks.Size(sum)
	return ok, nil
}

func (b blockstore) GetSize(_ context.Context, c cid.Cid) (int, error) {
	if sum, err := Sum(c); err == nil {
		if n, ok := b.blocks.Size(sum); ok {
			return n, nil
		}
	}
	return 0, ipld.ErrNotFound{Cid: c}
}

func (b blockstore) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	sum, err := Sum(c)
	if err != nil {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	data, err := b.blocks.Get(ctx, sum)
	if err == nil {
		return blocks.NewBlockWithCid(data, c)
	}
	if missing := (*shards.MissingError)(nil); !errors.As(err, &missing) && ctx.Err() == nil {
		b.logger.Error("a block cannot be served", "block", sum, "error", err)
	}
	return nil, ipld.ErrNotFound{Cid: c} // bitswap would log what it gets instead
}

func (b blockstore) Put(context.Context, blocks.Block) error       { return errReadOnly }
func (b blockstore) PutMany(context.Context, []blocks.Block) error { return errReadOnly }
func (b blockstore) DeleteBlock(context.Context, cid.Cid) error    { return errReadOnly }

// AllKeysChan is not for bitswap: it would say what a node holds.
func (b blockstore) AllKeysChan(context.Context) (<-chan cid.Cid, error) { return nil, errReadOnly }
