package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/allmend-network/allmend/verify/testrun"
)

// swarm is a run's peers in this process, over TCP on loopback.
type swarm struct {
	t            *testing.T
	ctx          context.Context
	dir          string
	made         *testrun.Run
	spec         run.Spec
	contacts     []string
	addresses    map[identity.Address]string // where each was first
	coordinators map[identity.Address]*process[*Coordinator]
	nodes        map[identity.Address]*process[*Node]
	stay         bool
}

type runner interface {
	Run(context.Context) error
	Close() error
	Host() *Host
}

// process is a peer that runs until it ends by itself or is stopped.
type process[P runner] struct {
	peer P
	stop context.CancelFunc
	done chan struct{}
	err  error // of Run; read after done
}

func start[P runner](ctx context.Context, p P) *process[P] {
	ctx, cancel := context.WithCancel(ctx)
	x := &process[P]{peer: p, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.err = errors.Join(p.Run(ctx), p.Close())
	}()
	return x
}

// kill stops a peer and waits until it is gone.
func (p *process[P]) kill() {
	p.stop()
	<-p.done
}

func newSwarm(t *testing.T, change func(*run.Spec)) *swarm {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	dir := t.TempDir()
	made, err := testrun.Make(ctx, filepath.Join(dir, "made"), testrun.Script{Everything: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &swarm{
		t: t, ctx: ctx, dir: dir, made: made, spec: made.Spec, addresses: map[identity.Address]string{},
		coordinators: map[identity.Address]*process[*Coordinator]{}, nodes: map[identity.Address]*process[*Node]{},
	}
	if change != nil {
		change(&s.spec)
	}
	t.Cleanup(s.stopAll)
	return s
}

func (s *swarm) stopAll() {
	for _, n := range s.nodes {
		n.kill()
	}
	for _, c := range s.coordinators {
		c.kill()
	}
}

func (s *swarm) initial() string { return filepath.Join(s.made.Evidence, verify.CheckpointDir(0)) }

func (s *swarm) logger(k identity.Key) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{s.t}, &slog.HandlerOptions{Level: slog.LevelInfo})).With("peer", k.Address().Short())
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

func (s *swarm) network(k identity.Key) HostConfig {
	listen := s.addresses[k.Address()]
	if listen == "" {
		listen = "/ip4/127.0.0.1/tcp/0"
	}
	return HostConfig{Software: "allmend/test", Listen: []string{listen}, Peers: s.contacts, Strangers: DefaultStrangers}
}

func (s *swarm) coordinator(k identity.Key) *Coordinator {
	s.t.Helper()
	a := k.Address()
	dir := filepath.Join(s.dir, a.String())
	c, err := OpenCoordinator(CoordinatorConfig{
		Spec: s.spec, Key: k, Dir: dir, Marker: dir + ".run", Initial: s.initial(), Shards: s.made.Shards,
		Network: s.network(k), Accept: true, Heartbeat: 300 * time.Millisecond, Stay: s.stay, Logger: s.logger(k),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.addresses[a] = c.Host().libp2p.Addrs()[0].String()
	s.coordinators[a] = start(s.ctx, c)
	return c
}

// found starts all coordinators and lets them know one another.
func (s *swarm) found() {
	s.t.Helper()
	for _, k := range s.made.Coordinators {
		c := s.coordinator(k)
		s.contacts = append(s.contacts, c.Host().Contact().At[0])
	}
	for _, c := range s.coordinators {
		for _, at := range s.contacts {
			_, info, err := ParseContact(at)
			if err == nil {
				err = c.peer.Host().Learn(info)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func (s *swarm) config(k identity.Key) Config {
	return Config{
		Spec: s.spec, Key: k, Dir: filepath.Join(s.dir, k.Address().String()),
		Network: s.network(k), Device: cpu.New(1), Stay: s.stay, Logger: s.logger(k),
	}
}

func (s *swarm) node(cfg Config) *process[*Node] {
	s.t.Helper()
	n, err := Open(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	p := start(s.ctx, n)
	s.nodes[cfg.Key.Address()] = p
	return p
}

// wait waits until some coordinator's view of the run is as ok says.
func (s *swarm) wait(what string, ok func(state.View) bool) {
	s.t.Helper()
	for {
		var c *Coordinator
		for _, p := range s.coordinators {
			c = p.peer
			break
		}
		changed := c.group.Changed()
		v := c.group.View()
		if ok(v) {
			return
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			s.t.Fatalf("%s: not in time: %s %s round %d attempt %d, awaited %v", what, v.Status, v.Phase, v.Round, v.Attempt, v.Awaited)
		}
	}
}

// end waits until every node has ended by itself and compares what they hold.
func (s *swarm) end() {
	s.t.Helper()
	var folders []string
	for a, p := range s.nodes {
		select {
		case <-p.done:
		case <-s.ctx.Done():
			s.t.Fatalf("node %s has not ended: %+v", a, p.peer.Status().Progress)
		}
		if p.err != nil {
			s.t.Errorf("node %s: %v", a, p.err)
		}
		dir, ok := p.peer.Result()
		if !ok {
			s.t.Fatalf("node %s has no result", a)
		}
		folders = append(folders, dir)
	}
	first, _, err := checkpoint.ReadManifest(folders[0])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range folders {
		sum, m, err := checkpoint.Check(dir)
		if err != nil || sum != first {
			s.t.Errorf("%s: %v, %v; want %v", dir, sum, err, first)
		}
		if m.Step != uint64(s.spec.Rounds) {
			s.t.Errorf("%s is of step %d", dir, m.Step)
		}
		signatures, err := checkpoint.ReadSignatures(dir)
		if err != nil || len(signatures.Coordinators) < s.spec.Threshold || len(signatures.Members) < 2 {
			s.t.Errorf("signatures of %s: %+v, %v", dir, signatures, err)
		}
	}
}

func TestSwarm(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, nil)
	s.found()
	for i, k := range s.made.Members {
		cfg := s.config(k)
		if i == 0 {
			cfg.Shards, cfg.Initial = s.made.Shards, s.initial()
		}
		s.node(cfg)
	}
	s.end()
}

// TestSecondProcessWithOneKey demands that the first goes on and the second
// ends with a reason.
func TestSecondProcessWithOneKey(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, func(spec *run.Spec) { spec.Rounds = 1000 })
	s.found()
	key := s.made.Members[0]
	first := s.node(s.config(key))
	s.wait("the first is ready", func(v state.View) bool { return len(v.Ready) > 0 })
	cfg := s.config(key)
	cfg.Dir += ".second"
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	second := start(s.ctx, n)
	select {
	case <-second.done:
	case <-s.ctx.Done():
		t.Fatal("the second process goes on")
	}
	if !errors.As(second.err, new(*SameKeyError)) {
		t.Errorf("the second process ended with: %v", second.err)
	}
	select {
	case <-first.done:
		t.Errorf("the first process ended with: %v", first.err)
	default:
	}
}

func TestNodeKilledAndBack(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, func(spec *run.Spec) { spec.Rounds = 9 })
	s.found()
	for _, k := range s.made.Members {
		s.node(s.config(k))
	}
	victim := s.made.Members[1]
	s.wait("round 3", func(v state.View) bool { return v.Round >= 3 && v.Phase == state.Reduce })
	s.nodes[victim.Address()].kill()
	s.wait("round 5", func(v state.View) bool { return v.Round >= 5 && v.Phase == state.Compute })
	s.node(s.config(victim))
	s.end()
}

func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, func(spec *run.Spec) { spec.Rounds = 10 })
	s.found()
	for _, k := range s.made.Members {
		s.node(s.config(k))
	}
	s.wait("round 3", func(v state.View) bool { return v.Round >= 3 && v.Phase == state.Reduce })
	var leader identity.Key
	for _, k := range s.made.Coordinators {
		for _, c := range s.coordinators {
			if c.peer.group.Leader() == k.Address() {
				leader = k
			}
		}
	}
	s.coordinators[leader.Address()].kill()
	delete(s.coordinators, leader.Address())
	s.wait("round 5", func(v state.View) bool { return v.Round >= 5 })
	s.coordinator(leader)
	s.end()
}

func TestLateJoin(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, func(spec *run.Spec) { spec.Rounds = 10 })
	s.found()
	late := testrun.Key("late")
	for _, k := range s.made.Members {
		s.node(s.config(k))
	}
	s.wait("round 3", func(v state.View) bool { return v.Round >= 3 })
	s.admit(late.Address())
	s.node(s.config(late))
	s.wait("the late one takes part", func(v state.View) bool {
		return slices.Contains(v.Roster, late.Address()) || v.Status == state.Finished
	})
	s.end()
}

func (s *swarm) admit(a identity.Address) {
	s.t.Helper()
	id, err := s.spec.ID()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range s.coordinators {
		st := run.Member{Number: 1, Action: run.Admit, Role: run.RoleMember, Subject: a}
		for _, k := range s.made.Coordinators[:s.spec.Threshold] {
			signed, err := run.Sign(id, k, st)
			if err == nil {
				err = c.peer.group.Propose(s.ctx, signed)
			}
			if err != nil {
				s.t.Fatal(fmt.Errorf("admitting: %w", err))
			}
		}
		return
	}
}
