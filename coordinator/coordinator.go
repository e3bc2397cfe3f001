package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// DefaultHeartbeat is for wide-area networks; 300 ms suits one machine or LAN.
// A dead leader is replaced after about twice the heartbeat.
const DefaultHeartbeat = time.Second

const (
	minHeartbeat = 50 * time.Millisecond
	minRequest   = time.Second // of one request: short heartbeats must not cut slow links
	keepSnaps    = 2
)

// Config says what one coordinator is.
type Config struct {
	Spec    run.Spec
	Key     identity.Key
	Dir     string  // of this coordinator's log and snapshots; created if missing
	Network Network // to the other coordinators
	// Marker is a file outside Dir, beside the key, that says that this key
	// has coordinated this run before. If it exists and Dir is empty, the disk
	// was lost.
	Marker string
	// Accept says that the operator consents to be named by the Spec.
	Accept bool
	// Heartbeat is how long a follower waits for its leader before it asks for
	// votes; [DefaultHeartbeat] if zero.
	Heartbeat time.Duration
	// Probe reports whether a member answers; nil: nobody is probed.
	Probe func(context.Context, identity.Address) error
	// SnapshotEvery is how many commands are logged between snapshots; 8192 if
	// zero.
	SnapshotEvery uint64
	Logger        *slog.Logger // required
}

// WipedError says that a coordinator's disk was lost.
type WipedError struct {
	Key identity.Address
	Dir string
}

// Error implements error.
func (e *WipedError) Error() string {
	return fmt.Sprintf("%s holds no log, but coordinator %s has taken part in this run: it may have voted and signed what it no longer knows, so it must not start again; bring the folder back, or let the others replace this key: `allmend members rotate --role coordinator` with a new key", e.Dir, e.Key)
}

// Coordinator is one voice of the group that keeps the run's log.
type Coordinator struct {
	cfg     Config
	run     run.ID
	self    identity.Address
	logger  *slog.Logger
	records *Records
	fsm     *fsm
	signer  *signer
	heads   *headLog
	changed *bell // the machine applied something
	signed  *bell // there are new heads
	reports chan report
	telling atomic.Bool // evidence is being proposed

	transport *transport
	store     *wal.WAL
	meta      *metadb.BoltMetaDB // store's own, which its Close leaves open
	raft      *raft.Raft
	caughtUp  atomic.Uint64 // the term that this coordinator leads with all applied that was agreed before; 0 if none

	ctx     context.Context // ends with Close, or with a failure
	cancel  context.CancelCauseFunc
	working sync.WaitGroup
	closing sync.Once
}

// Open starts a coordinator from its disk. A key that the Spec names founds the
// group with the others; any other waits until the group takes it in.
func Open(cfg Config) (*Coordinator, error) {
	id, err := cfg.Spec.ID()
	if err != nil {
		return nil, err
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = DefaultHeartbeat
	}
	if cfg.Heartbeat < minHeartbeat {
		return nil, fmt.Errorf("heartbeat of %s: want at least %s", cfg.Heartbeat, minHeartbeat)
	}
	c := &Coordinator{
		cfg: cfg, run: id, self: cfg.Key.Address(), logger: cfg.Logger, heads: newHeadLog(),
		changed: newBell(), signed: newBell(), reports: make(chan report, 256),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.shut())
	}
	c.start(c.transport.serve, c.signHeads, c.pushHeads, c.duties, c.lead)
	return c, nil
}

func (c *Coordinator) open() error {
	log := filepath.Join(c.cfg.Dir, "raft")
	_, marked := os.Stat(c.cfg.Marker)
	if _, err := os.Stat(log); marked == nil && errors.Is(err, os.ErrNotExist) {
		return &WipedError{c.self, c.cfg.Dir} // before anything is made where a backup may be put
	}
	err := os.MkdirAll(log, 0o700)
	if err != nil {
		return fmt.Errorf("coordinator's folder: %w", err)
	}
	if c.signer, err = openSigner(filepath.Join(c.cfg.Dir, "head.json"), c.run, c.cfg.Key, c.mark); err != nil {
		return err
	}
	if _, ok := c.signer.head(); ok {
		if _, err := c.heads.add(c.self, c.signer.last); err != nil {
			return err
		}
	}
	if c.records, err = OpenRecords(filepath.Join(c.cfg.Dir, "records")); err != nil {
		return err
	}
	if c.fsm, err = newFSM(c.cfg.Spec, c.records, c.changed, c.fail); err != nil {
		return err
	}
	return c.openRaft()
}

func (c *Coordinator) openRaft() error {
	logger := newRaftLogger(c.logger)
	var err error
	c.meta = &metadb.BoltMetaDB{}
	if c.store, err = wal.Open(filepath.Join(c.cfg.Dir, "raft"), wal.WithLogger(logger), wal.WithMetaStore(c.meta)); err != nil {
		return fmt.Errorf("raft log in %s: %w", c.cfg.Dir, err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(c.cfg.Dir, keepSnaps, logger)
	if err != nil {
		return fmt.Errorf("snapshots in %s: %w", c.cfg.Dir, err)
	}
	g := new(guard)
	if c.transport, err = newTransport(c.self, c.cfg.Network, g, max(minRequest, 2*c.cfg.Heartbeat), c.logger); err != nil {
		return err
	}
	c.transport.propose, c.transport.head = c.takeProposal, c.takeHead
	conf := c.raftConfig()
	conf.Logger = logger
	if err := c.found(conf, snapshots); err != nil {
		return err
	}
	if c.raft, err = raft.NewRaft(conf, c.fsm, c.store, c.store, snapshots, c.transport); err != nil {
		return fmt.Errorf("starting raft from %s: %w", c.cfg.Dir, err)
	}
	g.raft.Store(c.raft)
	return nil
}

func (c *Coordinator) raftConfig() *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.self.String())
	conf.HeartbeatTimeout, conf.ElectionTimeout = c.cfg.Heartbeat, c.cfg.Heartbeat
	conf.LeaderLeaseTimeout = c.cfg.Heartbeat / 2
	conf.CommitTimeout = max(c.cfg.Heartbeat/20, 5*time.Millisecond) // until followers learn what is committed
	conf.MaxAppendEntries = maxBodies
	conf.ShutdownOnRemove = false
	conf.NoLegacyTelemetry = true
	if c.cfg.SnapshotEvery > 0 {
		conf.SnapshotThreshold = c.cfg.SnapshotEvery
		conf.TrailingLogs = c.cfg.SnapshotEvery
		conf.SnapshotInterval = 10 * time.Second
	}
	return conf
}

// found writes the group's first configuration, once in a key's life. Every
// founder writes the same.
func (c *Coordinator) found(conf *raft.Config, snapshots raft.SnapshotStore) error {
	existing, err := raft.HasExistingState(c.store, c.store, snapshots)
	if err != nil {
		return fmt.Errorf("raft log in %s: %w", c.cfg.Dir, err)
	}
	_, err = os.Stat(c.cfg.Marker)
	marked := err == nil
	if !marked && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("marker of this run: %w", err)
	}
	if marked && !existing {
		return &WipedError{c.self, c.cfg.Dir}
	}
	if !existing && slices.Contains(c.cfg.Spec.Coordinators, c.self) {
		var group raft.Configuration
		for _, a := range c.cfg.Spec.Coordinators {
			group.Servers = append(group.Servers, raft.Server{ID: raft.ServerID(a.String()), Address: raft.ServerAddress(a.String())})
		}
		if err := raft.BootstrapCluster(conf, c.store, c.store, snapshots, c.transport, group); err != nil {
			return fmt.Errorf("founding the group of coordinators: %w", err)
		}
	}
	if marked || !existing && !slices.Contains(c.cfg.Spec.Coordinators, c.self) {
		return nil // a key that joins later is marked before it signs its first head
	}
	return c.mark()
}

// mark notes beside the key that it coordinates this run. It comes before the
// key's first head, and so before its first vote, which needs one.
func (c *Coordinator) mark() error {
	if err := writeFile(c.cfg.Marker, []byte(c.run.String()+"\n")); err != nil {
		return fmt.Errorf("marker of this run: %w", err)
	}
	return nil
}

// start runs the coordinator's own goroutines; an error of one ends all.
func (c *Coordinator) start(work ...func() error) {
	for _, f := range work {
		c.working.Go(func() {
			if err := f(); err != nil {
				c.fail(err)
			}
		})
	}
}

// fail ends the coordinator with a reason.
func (c *Coordinator) fail(err error) {
	if c.ctx.Err() == nil {
		c.logger.Error("the coordinator stops", "error", err)
	}
	c.cancel(err)
}

// Done is closed when the coordinator has failed or is closed; Err says why.
func (c *Coordinator) Done() <-chan struct{} { return c.ctx.Done() }

// Err returns why the coordinator ended by itself; nil if it did not.
func (c *Coordinator) Err() error {
	if err := context.Cause(c.ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// View returns a picture of the run as this coordinator knows it.
func (c *Coordinator) View() state.View { return c.fsm.view() }

// LastClosed returns the last CLOSED, zero if there is none.
func (c *Coordinator) LastClosed() run.Closed { return c.fsm.lastClosed() }

// Changed returns a channel that is closed when the run has moved on.
func (c *Coordinator) Changed() <-chan struct{} { return c.changed.wait() }

// Records returns the run's log. The caller must not append to it.
func (c *Coordinator) Records() *Records { return c.records }

// Heads returns the coordinators' signed heads from number n on, in the order
// they came here, the number after them, and a channel that is closed when
// there are more. The oldest are forgotten.
func (c *Coordinator) Heads(n uint64) ([]run.Signed, uint64, <-chan struct{}) {
	more := c.signed.wait()
	heads, next := c.heads.after(n)
	var out []run.Signed
	for _, h := range heads {
		out = append(out, h.signed)
	}
	return out, next, more
}

// Leader returns who leads as far as this coordinator knows; zero if nobody.
func (c *Coordinator) Leader() identity.Address {
	_, id := c.raft.LeaderWithID()
	a, err := identity.ParseAddress(string(id))
	if err != nil {
		return identity.Address{}
	}
	return a
}

// Term returns raft's current term.
func (c *Coordinator) Term() uint64 { return c.raft.CurrentTerm() }

// Close stops the coordinator and waits for everything it started.
func (c *Coordinator) Close() error {
	var err error
	c.closing.Do(func() { err = c.shut() })
	return err
}

func (c *Coordinator) shut() error {
	c.cancel(context.Canceled)
	var errs []error
	if c.raft != nil {
		errs = append(errs, c.raft.Shutdown().Error())
	}
	if c.transport != nil {
		errs = append(errs, c.transport.close())
	}
	c.working.Wait()
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	if c.meta != nil {
		errs = append(errs, c.meta.Close())
	}
	if c.records != nil {
		errs = append(errs, c.records.Sync(), c.records.Close())
	}
	return errors.Join(errs...)
}
