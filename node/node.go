package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/exchange"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Config says what one member of a run is.
type Config struct {
	Spec run.Spec
	Key  identity.Key
	Dir  string // data directory; one process's at a time
	// Initial is the folder of the round-0 checkpoint that `allmend run init`
	// wrote. Empty: it is fetched from other peers.
	Initial string
	// Shards is the folder of the run's shards. Empty: blocks are fetched from
	// other peers as they are needed, and kept.
	Shards  string
	Network HostConfig // Key, Run and Logger are filled in
	Device  model.Device
	// Stay keeps the process serving evidence after the run is finished.
	Stay   bool
	Logger *slog.Logger // required
}

// Node is a member's life: it follows the log, does its part of each round and
// serves what it keeps.
type Node struct {
	cfg    Config
	id     run.ID
	logger *slog.Logger
	lock   *Lock
	host   *Host
	store  *store
	blocks *blocks
	rings  *rings
	pulse  *pulse
	log    *publicLog
	chain  *chain         // the loop's
	member *member.Member // the loop's
	worker *worker

	inbox  chan message      // from the peer that is followed
	tasks  chan task         // to the worker
	done   chan member.Event // from the worker
	speech chan run.Signed   // to the speaker
	broken chan error        // from elsewhere: this process must end

	patience time.Duration // at the end of the run: lastCall
	process  uint64        // random; names this process to coordinators
	left     atomic.Uint64 // turn of follow whose peer is not believed
	applied  atomic.Uint64 // records of the log, as coordinators said that took own statements

	mu       sync.Mutex // guards the fields below
	status   Status
	consumed map[uint64]uint64
}

// Status is what a member is doing.
type Status struct {
	Run      run.ID
	Self     identity.Address
	View     state.View // the run as far as its log has come here
	Covered  uint64     // records that k coordinators' heads cover
	Followed identity.Address
	Progress coordinator.Progress
	Finished bool
}

// Open starts a member's host and reads its disk. Run does the rest.
func Open(cfg Config) (*Node, error) {
	id, err := cfg.Spec.ID()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, id: id, logger: cfg.Logger, rings: newRings(), pulse: newPulse(), patience: lastCall, consumed: map[uint64]uint64{},
		inbox: make(chan message), tasks: make(chan task, 64), done: make(chan member.Event, 64), speech: make(chan run.Signed, 256), broken: make(chan error, 1),
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	n.process = binary.BigEndian.Uint64(random[:])
	if n.lock, err = LockDir(cfg.Dir); err != nil {
		return nil, err
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open() error {
	err := checkInitial(n.cfg.Initial, n.cfg.Spec)
	if err != nil {
		return err
	}
	if n.store, err = openStore(n.cfg.Dir, n.cfg.Initial, n.id); err != nil {
		return err
	}
	if err := n.store.keepSpec(n.cfg.Spec); err != nil {
		return err
	}
	disk, err := n.store.disk()
	if err != nil {
		return err
	}
	chain, entries, err := openChain(n.cfg.Spec, filepath.Join(n.cfg.Dir, "records"))
	if err != nil {
		return err
	}
	n.chain, n.log = chain, newPublicLog(chain.records)
	n.member = member.New(n.cfg.Key.Address(), n.cfg.Spec, disk)
	n.member.Step(member.Covered{Entries: entries})
	if err := n.openHost(); err != nil {
		return err
	}
	n.look()
	return nil
}

func (n *Node) openHost() error {
	network := n.cfg.Network
	network.Key, network.Run, network.Logger = n.cfg.Key, n.id, n.logger
	var err error
	if n.host, err = OpenHost(network); err != nil {
		return err
	}
	n.host.follow(n.cfg.Spec, n.chain.view())
	n.host.serveObjects(n.store)
	n.host.serveFollow(n.log)
	n.host.servePeers()
	n.host.serveRing(n.rings)
	return nil
}

// Host returns the member's host.
func (n *Node) Host() *Host { return n.host }

// Status returns what the member is doing.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.status
	s.Progress, _ = n.pulse.get()
	return s
}

// Run takes part in the run until it is finished and the others have reached
// its end, too, as far as they are heard of, and then returns nil; with
// Config.Stay it goes on until ctx ends. It returns ctx's error when that ends, and
// another when this member cannot go on. It is called once.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() {
		cancel()
		all.Wait()
	}()
	// The shards' manifest may have to come from peers.
	all.Go(func() { n.introduce(ctx) })
	all.Go(func() { n.follow(ctx) })
	all.Go(func() { n.speak(ctx) })
	all.Go(func() { n.reportAll(ctx) })
	ready := make(chan error, 1)
	all.Go(func() { ready <- n.prepare(ctx) })
	return n.loop(ctx, ready, &all)
}

// prepare opens the shards and makes the worker.
func (n *Node) prepare(ctx context.Context) error {
	var err error
	if n.blocks, err = openBlocks(ctx, n); err != nil {
		return err
	}
	reader, err := shards.OpenReader(n.blocks.manifest, n.blocks.exchange, n.cfg.Spec.Sequence)
	if err != nil {
		return err
	}
	work, err := trainer.New(n.cfg.Spec, n.cfg.Device, reader)
	if err != nil {
		return err
	}
	n.worker = &worker{
		host: n.host, spec: n.cfg.Spec, id: n.id, store: n.store, trainer: work, reader: reader, rings: n.rings,
		logger: n.logger, pulse: n.pulse, sources: n.sources, consumed: n.consumedAt,
	}
	return nil
}

// Close ends what Open started.
func (n *Node) Close() error {
	var errs []error
	if n.blocks != nil {
		errs = append(errs, n.blocks.close())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	if n.chain != nil {
		errs = append(errs, n.chain.records.Sync(), n.chain.records.Close())
	}
	return errors.Join(append(errs, n.lock.Release())...)
}

// sources returns whom to ask for objects: first those given, then every
// member known, then everybody else.
func (n *Node) sources(first []identity.Address) []identity.Address {
	seen := map[identity.Address]bool{n.host.self: true}
	var out []identity.Address
	add := func(a identity.Address) {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	for _, a := range first {
		add(a)
	}
	contacts := n.host.Contacts()
	for _, c := range contacts {
		if n.host.Role(c.Address) == RoleMember {
			add(c.Address)
		}
	}
	for _, c := range contacts {
		add(c.Address)
	}
	return out
}

func (n *Node) consumedAt(round uint64) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.consumed[round]
}

// blocks is where samples come from: a folder of shards, or blocks fetched
// from peers as they are needed.
type blocks struct {
	manifest shards.Manifest
	folder   *shards.Folder // nil if blocks are fetched
	exchange *exchange.Exchange
}

func openBlocks(ctx context.Context, n *Node) (*blocks, error) {
	b := new(blocks)
	store, err := b.open(ctx, n)
	if err != nil {
		return nil, err
	}
	gate, err := exchange.ManifestGate(b.manifest, n.host.served(RoleStranger), n.host.served(RoleAuditor))
	if err != nil {
		return nil, err
	}
	b.exchange = exchange.New(ctx, n.host.Libp2p(), exchange.Config{
		Store: counted{store, n.pulse}, Allow: gate, Logger: n.logger, Blame: n.host.blame,
	})
	return b, nil
}

func (b *blocks) open(ctx context.Context, n *Node) (shards.Store, error) {
	if n.cfg.Shards != "" {
		folder, err := openShards(n.cfg.Shards, n.cfg.Spec)
		if err != nil {
			return nil, err
		}
		b.folder = folder
		b.manifest, _ = folder.Manifest()
		return folder, n.store.keepShards(n.cfg.Shards)
	}
	path := filepath.Join(n.cfg.Dir, shardManifest)
	for {
		m, err := n.shardManifest(ctx, path)
		if err == nil {
			b.manifest = m
			n.store.add(n.cfg.Spec.Shards, path)
			return shards.OpenDirStore(filepath.Join(n.cfg.Dir, blocksDir))
		}
		n.logger.Warn("the shard manifest is not here yet", "error", err)
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// shardManifest reads the shards' manifest from disk or fetches it.
func (n *Node) shardManifest(ctx context.Context, path string) (shards.Manifest, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		name := n.cfg.Spec.Shards
		if err := n.host.Fetch(ctx, name, path, n.sources(nil), CheckSHA256(name), 0, shards.MaxManifestSize, n.pulse.moved); err != nil {
			return shards.Manifest{}, err
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return shards.Manifest{}, err
	}
	return shards.ParseManifest(b)
}

func (b *blocks) close() error {
	err := b.exchange.Close()
	if b.folder != nil {
		err = errors.Join(err, b.folder.Close())
	}
	return err
}

// openShards opens the run's shard folder.
func openShards(dir string, spec run.Spec) (*shards.Folder, error) {
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	if _, sum := folder.Manifest(); sum != spec.Shards {
		return nil, errors.Join(fmt.Errorf("%s holds shards %s, the run uses %s; give --shards the folder that the run was made from, or leave it out to fetch them", dir, sum.Short(), spec.Shards.Short()), folder.Close())
	}
	return folder, nil
}

// counted counts blocks that come as progress.
type counted struct {
	shards.Store
	pulse *pulse
}

// Put implements [shards.Store].
func (c counted) Put(block []byte) (digest.Sum, error) {
	c.pulse.moved(len(block))
	return c.Store.Put(block)
}
