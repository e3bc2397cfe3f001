package shards

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/allmend-network/allmend/verify/digest"
)

// Prefetcher is a store that gets many blocks at once much faster than one by
// one, as one that asks other peers for them does.
type Prefetcher interface {
	Prefetch(ctx context.Context, sums []digest.Sum) error
}

// cacheBlocks is the number of blocks a Reader keeps: samples come in a
// shuffled order, and each is far smaller than a block.
const cacheBlocks = 64

// Reader cuts the token stream of a manifest into samples. It is safe for
// concurrent use.
type Reader struct {
	manifest Manifest
	blocks   Blocks
	length   int // T
	files    []tokenFile

	mu    sync.Mutex
	cache map[digest.Sum][]byte // guarded by mu
	order []digest.Sum          // guarded by mu; least recently used first
}

// tokenFile is one .bin file and the number of stream bytes before it.
type tokenFile struct {
	File
	start int64
}

// OpenReader returns a reader of samples of T tokens and T labels, which share
// T+1 tokens of the stream.
func OpenReader(m Manifest, blocks Blocks, T int) (*Reader, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("shard manifest: %w", err)
	}
	if T < 1 || m.Sequences(T) < 1 {
		return nil, fmt.Errorf("shards %q: %d tokens hold no sample of %d tokens and a label", m.Name, m.Tokens, T)
	}
	r := &Reader{manifest: m, blocks: blocks, length: T, cache: make(map[digest.Sum][]byte)}
	var start int64
	for _, f := range m.Files {
		if f.Kind == Tokens && f.Bytes > 0 {
			r.files = append(r.files, tokenFile{f, start})
			start += f.Bytes
		}
	}
	return r, nil
}

// Sequences returns the number of samples.
func (r *Reader) Sequences() uint64 { return uint64(r.manifest.Sequences(r.length)) }

// Sequence returns the T+1 tokens of sample index. It fails with *MissingError
// when the store lacks a block and *MismatchError when one is damaged.
func (r *Reader) Sequence(ctx context.Context, index uint64) ([]int32, error) {
	if index >= r.Sequences() {
		return nil, fmt.Errorf("sample %d of shards %q: there are %d", index, r.manifest.Name, r.Sequences())
	}
	buf := make([]byte, 0, TokenSize*(r.length+1))
	err := r.pieces(index, func(p piece) error {
		block, err := r.block(ctx, p.sum)
		if err != nil {
			return fmt.Errorf("sample %d of shards %q: %w", index, r.manifest.Name, err)
		}
		if len(block) < p.to {
			return &MismatchError{"block " + p.sum.String(), fmt.Sprintf("%d bytes", len(block)), fmt.Sprintf("at least %d bytes", p.to)}
		}
		buf = append(buf, block[p.from:p.to]...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	tokens := make([]int32, r.length+1)
	for i := range tokens {
		tokens[i] = int32(binary.LittleEndian.Uint32(buf[TokenSize*i:]))
		if tokens[i] < 0 {
			return nil, fmt.Errorf("sample %d of shards %q: token %d is %d, below 0", index, r.manifest.Name, i, tokens[i])
		}
	}
	return tokens, nil
}

// Blocks returns the distinct blocks that samples lie in, in order of first use.
func (r *Reader) Blocks(indices []uint64) ([]digest.Sum, error) {
	var sums []digest.Sum
	seen := make(map[digest.Sum]bool)
	for _, index := range indices {
		if index >= r.Sequences() {
			return nil, fmt.Errorf("sample %d of shards %q: there are %d", index, r.manifest.Name, r.Sequences())
		}
		r.pieces(index, func(p piece) error {
			if !seen[p.sum] {
				seen[p.sum] = true
				sums = append(sums, p.sum)
			}
			return nil
		})
	}
	return sums, nil
}

// Prefetch makes the store get the blocks of samples that it lacks, all at
// once, if it is a [Prefetcher]; otherwise it does nothing.
func (r *Reader) Prefetch(ctx context.Context, indices []uint64) error {
	store, ok := r.blocks.(Prefetcher)
	if !ok {
		return nil
	}
	sums, err := r.Blocks(indices)
	if err != nil {
		return err
	}
	sums = slices.DeleteFunc(sums, func(s digest.Sum) bool { _, have := r.blocks.Size(s); return have })
	if len(sums) == 0 {
		return nil
	}
	return store.Prefetch(ctx, sums)
}

// piece is the bytes [from, to) of a block.
type piece struct {
	sum      digest.Sum
	from, to int
}

// pieces calls use with the parts of blocks that make up sample index.
func (r *Reader) pieces(index uint64, use func(piece) error) error {
	at := int64(index) * int64(r.length) * TokenSize
	end := at + TokenSize*int64(r.length+1)
	i := sort.Search(len(r.files), func(i int) bool { return r.files[i].start > at }) - 1
	for at < end {
		f := r.files[i]
		block := (at - f.start) / digest.BlockSize
		start := f.start + block*digest.BlockSize
		stop := min(start+digest.BlockSize, f.start+f.Bytes, end)
		if err := use(piece{f.Blocks[block], int(at - start), int(stop - start)}); err != nil {
			return err
		}
		if at = stop; at == f.start+f.Bytes {
			i++
		}
	}
	return nil
}

// block returns a block from the cache or the store; it must not be changed.
// Its digest is checked here once more, since all training rests on it.
func (r *Reader) block(ctx context.Context, sum digest.Sum) ([]byte, error) {
	r.mu.Lock()
	b, ok := r.cache[sum]
	if ok {
		i := slices.Index(r.order, sum)
		r.order = append(slices.Delete(r.order, i, i+1), sum)
	}
	r.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := r.blocks.Get(ctx, sum)
	if err != nil {
		return nil, err
	}
	if err := checkBlock(b, sum); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.cache[sum]; !ok {
		if len(r.order) == cacheBlocks {
			delete(r.cache, r.order[0])
			r.order = slices.Delete(r.order, 0, 1)
		}
		r.cache[sum] = b
		r.order = append(r.order, sum)
	}
	return b, nil
}
