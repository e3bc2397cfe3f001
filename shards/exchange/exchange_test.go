package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/storetest"
	"github.com/allmend-network/allmend/verify/digest"
)

func newHost(t *testing.T) host.Host {
	t.Helper()
	key, _, err := crypto.GenerateSecp256k1Key(nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// patience is how long the tests wait for a block that must not come; one that
// must come arrives in a fraction of it even on a busy machine.
const patience = 2 * time.Second

func everyone(peer.ID, digest.Sum) bool { return true }

func newExchange(t *testing.T, h host.Host, config Config) *Exchange {
	t.Helper()
	x := New(t.Context(), h, config)
	t.Cleanup(func() { x.Close() })
	return x
}

// know makes each host able to dial the others.
func know(h host.Host, others ...host.Host) (ids []peer.ID) {
	for _, o := range others {
		h.Peerstore().AddAddrs(o.ID(), o.Addrs(), time.Hour)
		ids = append(ids, o.ID())
	}
	return ids
}

// manyBlocks returns n distinct blocks, one of them full and one empty.
func manyBlocks(n int) (blocks [][]byte, sums []digest.Sum) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		b := make([]byte, rng.IntN(20000)+1)
		switch i {
		case 0:
			b = make([]byte, digest.BlockSize)
		case 1:
			b = nil
		}
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		blocks, sums = append(blocks, b), append(sums, digest.Of(b))
	}
	return blocks, sums
}

func memory(t *testing.T, blocks [][]byte) *storetest.Memory {
	t.Helper()
	m := new(storetest.Memory)
	for _, b := range blocks {
		if _, err := m.Put(b); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func checkHeld(t *testing.T, store shards.Blocks, blocks [][]byte) {
	t.Helper()
	for i, want := range blocks {
		if got, err := store.Get(t.Context(), digest.Of(want)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("block %d: %d of %d bytes, %v", i, len(got), len(want), err)
		}
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	blocks, sums := manyBlocks(300)
	server, client := newHost(t), newHost(t)
	newExchange(t, server, Config{Store: memory(t, blocks), Allow: everyone})
	store := memory(t, blocks[:10])
	x := newExchange(t, client, Config{Store: store})
	var seen []int
	err := x.Fetch(t.Context(), append(sums, sums[5:50]...), know(client, server), func(held, total int) {
		if total != len(sums) {
			t.Errorf("total %d, want %d", total, len(sums))
		}
		seen = append(seen, held)
	})
	if err != nil {
		t.Fatal(err)
	}
	checkHeld(t, store, blocks)
	for i, held := range seen {
		if held != 10+i {
			t.Fatalf("progress %d said %d", i, held)
		}
	}
	if len(seen) != len(sums)-10+1 {
		t.Errorf("progress was told %d times", len(seen))
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	// The blocks lie with another peer; the local store begins empty.
	var server *storetest.Memory
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T, blocks [][]byte) shards.Store {
			a, b := newHost(t), newHost(t)
			server = memory(t, blocks)
			newExchange(t, a, Config{Store: server, Allow: everyone})
			x := newExchange(t, b, Config{Store: new(storetest.Memory), Patience: patience})
			know(b, a)
			if err := b.Connect(t.Context(), peer.AddrInfo{ID: a.ID()}); err != nil {
				t.Fatal(err)
			}
			return eager{x, server}
		},
	})
}

// eager fetches a block that its peer has when it is asked for the size.
type eager struct {
	*Exchange
	peer *storetest.Memory
}

func (e eager) Size(sum digest.Sum) (int, bool) {
	if _, ok := e.peer.Size(sum); !ok {
		return e.Exchange.Size(sum)
	}
	b, err := e.Get(context.Background(), sum)
	return len(b), err == nil
}

func TestLocalConformance(t *testing.T) {
	var local *storetest.Memory
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T, blocks [][]byte) shards.Store {
			local = memory(t, blocks)
			return newExchange(t, newHost(t), Config{Store: local, Patience: time.Millisecond})
		},
		Damage: func(_ *testing.T, sum digest.Sum, b []byte) { local.Plant(sum, b) },
	})
}

// gateTo allows one peer everything.
func gateTo(id peer.ID) Gate {
	return func(p peer.ID, _ digest.Sum) bool { return p == id }
}

func TestNonMemberIsServedNothing(t *testing.T) {
	t.Parallel()
	blocks, sums := manyBlocks(20)
	server, member, stranger := newHost(t), newHost(t), newHost(t)
	newExchange(t, server, Config{Store: memory(t, blocks), Allow: gateTo(member.ID())})

	store := new(storetest.Memory)
	x := newExchange(t, stranger, Config{Store: store, Patience: patience})
	err := x.Fetch(t.Context(), sums, know(stranger, server), nil)
	var stalled *StalledError
	if !errors.As(err, &stalled) || stalled.Missing != len(sums)-1 || stalled.Peers != 1 || !strings.Contains(err.Error(), "do not serve") {
		t.Fatalf("a stranger fetched with %v", err)
	}
	for _, sum := range sums {
		if n, ok := store.Size(sum); ok && n > 0 {
			t.Fatalf("a stranger got block %s", sum)
		}
	}

	store = new(storetest.Memory)
	y := newExchange(t, member, Config{Store: store})
	if err := y.Fetch(t.Context(), sums, know(member, server), nil); err != nil {
		t.Fatal(err)
	}
	checkHeld(t, store, blocks)
}

func TestRestrictedBlocks(t *testing.T) {
	t.Parallel()
	m, folder := sampleFolder(t)
	server, member, stranger := newHost(t), newHost(t), newHost(t)
	gate, err := ManifestGate(m, func(peer.ID) bool { return true }, func(p peer.ID) bool { return p == member.ID() })
	if err != nil {
		t.Fatal(err)
	}
	newExchange(t, server, Config{Store: folder, Allow: gate})
	name, _ := m.Digest()

	// The stranger gets all but the dropped file.
	store := new(storetest.Memory)
	x := newExchange(t, stranger, Config{Store: store, Patience: patience})
	from := know(stranger, server)
	got, err := x.FetchManifest(t.Context(), name, from)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.FetchShards(t.Context(), got, from, nil, shards.Tokens, shards.TokenIdx, shards.Documents, shards.Tokenizer); err != nil {
		t.Fatal(err)
	}
	var stalled *StalledError
	if err := x.FetchShards(t.Context(), got, from, nil, shards.Dropouts); !errors.As(err, &stalled) || stalled.Missing != 1 {
		t.Fatalf("a stranger fetched the dropped file with %v", err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := shards.Assemble(t.Context(), got, store, open); err != nil {
		t.Fatal(err)
	}

	// The member gets everything, and the folder checks.
	store = new(storetest.Memory)
	y := newExchange(t, member, Config{Store: store})
	if err := y.FetchShards(t.Context(), m, know(member, server), nil); err != nil {
		t.Fatal(err)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	if err := shards.Assemble(t.Context(), m, store, whole); err != nil {
		t.Fatal(err)
	}
	found, err := shards.Check(t.Context(), whole, nil)
	if err != nil || len(found.Problems)+len(found.Unchecked) != 0 || found.Manifest != name {
		t.Fatalf("%+v, %v", found, err)
	}
}

// sampleFolder writes a shard folder with a file of each kind.
func sampleFolder(t *testing.T) (shards.Manifest, *shards.Folder) {
	t.Helper()
	dir := t.TempDir()
	index := shards.Index{Lengths: []int32{300_000, 40}}
	tokens := make([]int32, index.Tokens())
	for i := range tokens {
		tokens[i] = int32(i % 1999)
	}
	files := []struct {
		path              string
		kind              shards.Kind
		bytes             []byte
		documents, tokens int64
	}{
		{"documents-00000.parquet", shards.Documents, []byte("documents"), 2, index.Tokens()},
		{"dropped.parquet", shards.Dropouts, []byte("dropped"), 3, 0},
		{"tokenizer.json", shards.Tokenizer, []byte("{}"), 0, 0},
		{"tokens-00000.bin", shards.Tokens, shards.AppendTokens(nil, tokens), 2, index.Tokens()},
		{"tokens-00000.idx", shards.TokenIdx, index.Marshal(), 2, index.Tokens()},
	}
	m := shards.Manifest{Version: 1, Name: "sample", Tokenizer: digest.Of([]byte("{}")), Documents: 2, Tokens: index.Tokens(), Dropped: 3,
		Languages: []shards.Language{{Language: "rm", Documents: 2, Tokens: index.Tokens()}}, Stages: []shards.Stage{}, NotApplied: []string{},
		Drops: []shards.Drop{{Stage: "robots", Rule: "disallowed", Documents: 3}}}
	for _, f := range files {
		read, err := digest.Read(bytes.NewReader(f.bytes), int64(len(f.bytes)))
		if err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, shards.File{Path: f.path, Kind: f.kind, Bytes: read.Size, SHA256: read.SHA256, Blocks: read.Blocks, Documents: f.documents, Tokens: f.tokens})
		write(t, filepath.Join(dir, f.path), f.bytes)
	}
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, shards.ManifestName), b)
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return m, folder
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPeerDiesMidway(t *testing.T) {
	t.Parallel()
	blocks, sums := manyBlocks(400)
	first, second, client := newHost(t), newHost(t), newHost(t)
	newExchange(t, first, Config{Store: memory(t, blocks), Allow: everyone})
	newExchange(t, second, Config{Store: memory(t, blocks), Allow: everyone})
	store := new(storetest.Memory)
	x := newExchange(t, client, Config{Store: store})
	err := x.Fetch(t.Context(), sums, know(client, first, second), func(held, _ int) {
		if held == 60 {
			first.Close()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	checkHeld(t, store, blocks)
}

func TestDamagedAtTheServer(t *testing.T) {
	t.Parallel()
	blocks, sums := manyBlocks(8)
	server, client := newHost(t), newHost(t)
	damaged := memory(t, blocks)
	bad := bytes.Clone(blocks[5])
	bad[3] ^= 1
	damaged.Plant(sums[5], bad)
	newExchange(t, server, Config{Store: damaged, Allow: everyone})
	store := new(storetest.Memory)
	x := newExchange(t, client, Config{Store: store, Patience: patience})
	err := x.Fetch(t.Context(), sums, know(client, server), nil)
	var stalled *StalledError
	if !errors.As(err, &stalled) || stalled.Missing != 1 || stalled.First != sums[5] {
		t.Fatalf("Fetch: %v", err)
	}
	checkHeld(t, store, append(blocks[:5:5], blocks[6:]...))
}

func TestFetchWithoutPeers(t *testing.T) {
	_, sums := manyBlocks(3)
	a, b := newHost(t), newHost(t)
	x := newExchange(t, a, Config{Store: new(storetest.Memory)})
	if err := x.Fetch(t.Context(), sums, nil, nil); err == nil || !strings.Contains(err.Error(), "connected to none") {
		t.Errorf("without peers: %v", err)
	}
	if err := x.Fetch(t.Context(), sums, []peer.ID{b.ID()}, nil); err == nil || !strings.Contains(err.Error(), b.ID().String()) {
		t.Errorf("with a peer that cannot be reached: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("enough"))
	if err := x.Fetch(ctx, sums, know(a, b), nil); err == nil {
		t.Error("with an ended context: no error")
	}
}

// A node that holds nothing trains on what it fetches as it goes.
func TestReaderOverExchange(t *testing.T) {
	t.Parallel()
	m, folder := sampleFolder(t)
	server, client := newHost(t), newHost(t)
	newExchange(t, server, Config{Store: folder, Allow: everyone})
	store := new(storetest.Memory)
	x := newExchange(t, client, Config{Store: store})
	know(client, server)
	if err := client.Connect(t.Context(), peer.AddrInfo{ID: server.ID()}); err != nil {
		t.Fatal(err)
	}
	near, err := shards.OpenReader(m, folder, 4096)
	if err != nil {
		t.Fatal(err)
	}
	far, err := shards.OpenReader(m, x, 4096)
	if err != nil {
		t.Fatal(err)
	}
	last := far.Sequences() - 1
	if err := far.Prefetch(t.Context(), []uint64{last}); err != nil {
		t.Fatal(err)
	}
	bin, _ := m.File("tokens-00000.bin")
	if _, ok := store.Size(bin.Blocks[len(bin.Blocks)-1]); !ok {
		t.Error("the last sample's block was not prefetched")
	}
	for _, i := range []uint64{last, 0} {
		want, err := near.Sequence(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := far.Sequence(t.Context(), i); err != nil || !slices.Equal(got, want) {
			t.Fatalf("sample %d from a peer: %v", i, err)
		}
	}
}
