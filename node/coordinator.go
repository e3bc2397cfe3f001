package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/shards/exchange"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

// holderHeard is how recent a report must be for its process to be alive.
const holderHeard = 3 * reportEvery

// CoordinatorConfig says what one coordinator of a run is.
type CoordinatorConfig struct {
	Spec run.Spec
	Key  identity.Key
	Dir  string // data directory; one process's at a time
	// Marker is a file beside the key; see coordinator.Config.
	Marker string
	// Initial and Shards are folders to serve to members, if they are here.
	Initial, Shards string
	Network         HostConfig // Key, Run and Logger are filled in
	Accept          bool       // the operator consents to be named by the Spec
	Heartbeat       time.Duration
	// Stay keeps the process serving the log after the run is finished.
	Stay   bool
	Logger *slog.Logger // required
}

// Coordinator is a coordinator's life: its part in the Raft group, and the
// run's log for whoever follows it.
type Coordinator struct {
	cfg   CoordinatorConfig
	id    run.ID
	lock  *Lock
	host  *Host
	group *coordinator.Coordinator
	seeds *seeds
	ended atomic.Bool // the run is finished, and nobody is known to need this process

	mu      sync.Mutex // guards the fields below
	reports map[identity.Address]Report
	holders map[identity.Address]uint64 // the process that reports under a member's key
}

// Report is what a member said of itself last, and when.
type Report struct {
	coordinator.Progress
	At    time.Time
	Moved time.Time // when it said something else than before
}

// CoordinatorStatus is what a coordinator knows of the run.
type CoordinatorStatus struct {
	Run    run.ID
	Self   identity.Address
	Leader identity.Address // zero if nobody is known to lead
	Term   uint64           // of Raft
	View   state.View
	// Of the last closed round, also while the next is under way; zero before
	// the first.
	Loss      float32 // mean over the targets
	Targets   uint64
	LossRound uint64
	LossStep  uint64

	Reports map[identity.Address]Report
}

// OpenCoordinator starts a coordinator from its disk.
func OpenCoordinator(cfg CoordinatorConfig) (*Coordinator, error) {
	id, err := cfg.Spec.ID()
	if err != nil {
		return nil, err
	}
	c := &Coordinator{cfg: cfg, id: id, reports: map[identity.Address]Report{}, holders: map[identity.Address]uint64{}}
	if c.lock, err = LockDir(cfg.Dir); err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Coordinator) open() error {
	network := c.cfg.Network
	network.Key, network.Run, network.Logger = c.cfg.Key, c.id, c.cfg.Logger
	var err error
	if c.host, err = OpenHost(network); err != nil {
		return err
	}
	start, err := state.New(c.cfg.Spec)
	if err != nil {
		return err
	}
	c.host.follow(c.cfg.Spec, start.View())
	if err := checkInitial(c.cfg.Initial, c.cfg.Spec); err != nil {
		return err
	}
	if c.seeds, err = openSeeds(c.host, c.cfg); err != nil {
		return err
	}
	c.group, err = coordinator.Open(coordinator.Config{
		Spec: c.cfg.Spec, Key: c.cfg.Key, Dir: filepath.Join(c.cfg.Dir, "log"), Marker: c.cfg.Marker, Network: raftNetwork{c.host},
		Accept: c.cfg.Accept, Heartbeat: c.cfg.Heartbeat, Probe: c.probe, Logger: c.cfg.Logger,
	})
	if err != nil {
		return err
	}
	c.host.serveSubmit(c.group.Propose, c.group.Records().Len)
	c.host.serveFollow(coordinatorLog{c.group, &c.ended})
	c.host.serveProgress(c.admit, c.take)
	c.host.servePeers()
	c.host.serveObjects(c.seeds.store)
	return nil
}

// probe asks a member for a sign of life.
func (c *Coordinator) probe(ctx context.Context, a identity.Address) error {
	info, ok := c.host.book.Find(a)
	if !ok {
		return fmt.Errorf("nobody has said yet where member %s is", a)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.host.connect(ctx, info); err != nil {
		return err
	}
	select {
	case result := <-ping.Ping(ctx, c.host.libp2p, info.ID):
		return result.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

// admit refuses a second process under one key while the first is heard.
func (c *Coordinator) admit(from identity.Address, process uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holders[from] != process && time.Since(c.reports[from].At) < holderHeard {
		return fmt.Errorf("another process takes part with key %s; one key is one process's: stop one, or make a key with `allmend keys new`", from)
	}
	c.holders[from] = process
	return nil
}

func (c *Coordinator) take(from identity.Address, p coordinator.Progress) {
	c.group.Report(from, p)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Report{p, time.Now(), c.reports[from].Moved}
	if p != c.reports[from].Progress {
		r.Moved = r.At
	}
	c.reports[from] = r
}

// Host returns the coordinator's host.
func (c *Coordinator) Host() *Host { return c.host }

// Run keeps the coordinator going until the run is finished and its members
// have reached the end, as far as they are heard of; with
// CoordinatorConfig.Stay, until ctx ends.
func (c *Coordinator) Run(ctx context.Context) error {
	meeting, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { c.meet(meeting) })
	defer all.Wait()
	defer cancel()
	var finished time.Time
	var glance, end <-chan time.Time
	for {
		changed := c.group.Changed()
		v := c.group.View()
		c.host.follow(c.cfg.Spec, v)
		if v.Status == state.Finished && finished.IsZero() {
			c.cfg.Logger.Info("the run is finished", "round", v.Last.Round, "steps", v.Step)
			finished, glance = time.Now(), time.After(lookEvery)
		}
		select {
		case <-changed:
		case now := <-glance:
			glance = time.After(lookEvery)
			if c.over(v, finished, now) {
				c.ended.Store(true) // members hear of it, and leave
				if glance = nil; !c.cfg.Stay {
					end = time.After(farewell)
				}
			}
		case <-end:
			return nil
		case <-c.group.Done():
			return c.group.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// meet keeps the book up to date.
func (c *Coordinator) meet(ctx context.Context) {
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, introduceEvery)
		c.host.IntroduceAll(asking)
		cancel()
		select {
		case <-time.After(introduceEvery):
		case <-ctx.Done():
		}
	}
}

// Status returns what the coordinator knows of the run. Members report to every
// coordinator, so the reports are as fresh here as at the leader.
func (c *Coordinator) Status() CoordinatorStatus {
	v := c.group.View()
	s := CoordinatorStatus{
		Run: c.id, Self: c.cfg.Key.Address(), Leader: c.group.Leader(), Term: c.group.Term(), View: v,
		Reports: map[identity.Address]Report{},
	}
	if last := c.group.LastClosed(); last.Targets > 0 {
		s.Loss, s.Targets = math.Float32frombits(last.Loss)/float32(last.Targets), last.Targets
		s.LossRound, s.LossStep = last.Round, last.Step
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for a, r := range c.reports {
		s.Reports[a] = r
	}
	return s
}

// Close ends what OpenCoordinator started.
func (c *Coordinator) Close() error {
	var errs []error
	if c.group != nil {
		errs = append(errs, c.group.Close())
	}
	if c.seeds != nil {
		errs = append(errs, c.seeds.close())
	}
	if c.host != nil {
		errs = append(errs, c.host.Close())
	}
	return errors.Join(append(errs, c.lock.Release())...)
}

// seeds is what a coordinator serves beside the log: what its operator put
// there for members to begin with.
type seeds struct {
	store    *store
	exchange *exchange.Exchange // nil without shards
	close    func() error
}

func openSeeds(h *Host, cfg CoordinatorConfig) (*seeds, error) {
	id := h.run
	s := &seeds{close: func() error { return nil }}
	var err error
	if s.store, err = openStore(cfg.Dir, cfg.Initial, id); err != nil {
		return nil, err
	}
	if err := s.store.keepSpec(cfg.Spec); err != nil {
		return nil, err
	}
	if cfg.Shards == "" {
		return s, nil
	}
	folder, err := openShards(cfg.Shards, cfg.Spec)
	if err != nil {
		return nil, err
	}
	m, _ := folder.Manifest()
	gate, err := exchange.ManifestGate(m, h.served(RoleStranger), h.served(RoleAuditor))
	if err == nil {
		err = s.store.keepShards(cfg.Shards)
	}
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	s.exchange = exchange.New(h.ctx, h.Libp2p(), exchange.Config{Store: folder, Allow: gate, Logger: cfg.Logger, Blame: h.blame})
	s.close = func() error { return errors.Join(s.exchange.Close(), folder.Close()) }
	return s, nil
}
