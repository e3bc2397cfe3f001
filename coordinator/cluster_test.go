package coordinator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// key returns the key of a name: the same in every run of the tests.
func key(name string) identity.Key {
	k, err := identity.New(sha256.Sum256([]byte("allmend coordinator test key " + name)))
	if err != nil {
		panic(err)
	}
	return k
}

func keys(prefix string, n int) []identity.Key {
	var out []identity.Key
	for i := range n {
		out = append(out, key(fmt.Sprintf("%s%d", prefix, i)))
	}
	slices.SortFunc(out, func(a, b identity.Key) int { return a.Address().Compare(b.Address()) })
	return out
}

func addresses(keys []identity.Key) []identity.Address {
	out := []identity.Address{}
	for _, k := range keys {
		out = append(out, k.Address())
	}
	return out
}

func testSpec(coordinators, members []identity.Key) run.Spec {
	return run.Spec{
		Version: 1, Name: "test",
		Model: model.Config{
			VocabSize: 64, HiddenSize: 8, IntermediateSize: 16, NumHiddenLayers: 1, NumAttentionHeads: 2, NumKeyValueHeads: 1,
			MaxPositionEmbeddings: 16, RopeTheta: "10000", RMSNormEps: "1e-5", InitStd: "0.02",
		},
		Tokenizer: digest.Of([]byte("tokenizer")), Shards: digest.Of([]byte("shards")), Sequences: 1 << 20,
		InitialState: digest.Of([]byte("state 0")), DataSeed: 7, Sequence: 16, Batch: 12, Unit: 2,
		Goldfish: run.Goldfish{K: 50, H: 50, Scheme: "apertus"},
		Optimizer: run.Optimizer{
			Name: "ademamix", LearningRate: "0.001", MinRate: "0.0001", Beta1: "0.9", Beta2: "0.999", Beta3: "0.9999",
			Alpha: "8", Epsilon: "1e-8", WeightDecay: "0.1", Clip: "0.1", Warmup: 2, Decay: 2, AlphaWarmup: 6, Beta3Warmup: 6,
		},
		Algorithm: "sync", Codec: "f32", Profile: "exact", Rounds: 1000, Checkpoint: 2, MinMembers: 1, MaxMembers: 8,
		Coordinators: addresses(coordinators), Threshold: run.Threshold(len(coordinators)), Members: addresses(members),
	}
}

// pipes is a network of net.Pipe between named ends. It enforces the contract
// of Network: the other side's address is the one it listens under.
type pipes struct {
	mu     sync.Mutex // guards listen and cut
	listen map[identity.Address]*pipeListener
	cut    map[identity.Address]bool // neither dials nor is dialled
	open   map[identity.Address][]net.Conn
}

func newPipes() *pipes {
	return &pipes{listen: map[identity.Address]*pipeListener{}, cut: map[identity.Address]bool{}, open: map[identity.Address][]net.Conn{}}
}

// isolate cuts one end off, or takes it back.
func (p *pipes) isolate(a identity.Address, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut[a] = cut
	for _, c := range p.open[a] {
		c.Close()
	}
	p.open[a] = nil
}

type pipeEnd struct {
	*pipes
	self identity.Address
}

type pipeListener struct {
	pipeEnd
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

type pipeConn struct {
	net.Conn
	remote identity.Address
}

func (c pipeConn) RemoteAddr() net.Addr { return named(c.remote.String()) }

type named string

func (n named) Network() string { return "pipe" }
func (n named) String() string  { return string(n) }

func (e pipeEnd) Listen() (net.Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := &pipeListener{pipeEnd: e, conns: make(chan net.Conn), closed: make(chan struct{})}
	e.pipes.listen[e.self] = l
	return l, nil
}

func (e pipeEnd) Dial(ctx context.Context, to identity.Address) (net.Conn, error) {
	e.mu.Lock()
	l := e.pipes.listen[to]
	cut := e.cut[to] || e.cut[e.self]
	near, far := net.Pipe()
	if !cut {
		e.open[to], e.open[e.self] = append(e.open[to], far), append(e.open[e.self], near)
	}
	e.mu.Unlock()
	if cut || l == nil {
		return nil, errors.New("no route")
	}
	select {
	case l.conns <- pipeConn{far, e.self}:
		return pipeConn{near, to}, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return named(l.self.String()) }

// cluster is a group of coordinators in this process, under virtual time.
type cluster struct {
	t       *testing.T
	spec    run.Spec
	dir     string
	net     *pipes
	keys    []identity.Key
	members []identity.Key
	up      map[identity.Address]*Coordinator
	probe   func(context.Context, identity.Address) error
	every   uint64 // SnapshotEvery
}

func newCluster(t *testing.T, n, members int) *cluster {
	c := &cluster{t: t, dir: t.TempDir(), net: newPipes(), keys: keys("c", n), members: keys("m", members), up: map[identity.Address]*Coordinator{}}
	c.spec = testSpec(c.keys, c.members)
	return c
}

func (c *cluster) config(k identity.Key) Config {
	a := k.Address()
	return Config{
		Spec: c.spec, Key: k, Dir: filepath.Join(c.dir, a.String()), Marker: filepath.Join(c.dir, a.String()+".run"),
		Network: pipeEnd{c.net, a}, Accept: true, Heartbeat: 300 * time.Millisecond, Probe: c.probe, SnapshotEvery: c.every,
		Logger: slog.New(slog.NewTextHandler(testWriter{c.t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

func (c *cluster) start(k identity.Key) *Coordinator {
	c.t.Helper()
	o, err := Open(c.config(k))
	if err != nil {
		c.t.Fatal(err)
	}
	c.up[k.Address()] = o
	return o
}

func (c *cluster) startAll() {
	c.t.Helper()
	for _, k := range c.keys {
		c.start(k)
	}
}

func (c *cluster) stop(a identity.Address) {
	c.t.Helper()
	if err := c.up[a].Close(); err != nil {
		c.t.Error(err)
	}
	delete(c.up, a)
}

func (c *cluster) stopAll() {
	for a := range c.up {
		c.stop(a)
	}
}

// any returns one running coordinator.
func (c *cluster) any() *Coordinator {
	for _, k := range c.keys {
		if o := c.up[k.Address()]; o != nil {
			return o
		}
	}
	c.t.Fatal("nobody is up")
	return nil
}

// wait waits, in virtual time, until ok of every running coordinator.
func (c *cluster) wait(what string, ok func(*Coordinator) bool) {
	c.t.Helper()
	limit := time.After(time.Minute)
	for _, o := range c.up {
		for {
			changed, signed := o.Changed(), o.signed.wait()
			if ok(o) {
				break
			}
			select {
			case <-changed:
			case <-signed:
			case <-time.After(20 * time.Millisecond):
			case <-limit:
				v := o.View()
				c.t.Fatalf("%s: not after a minute at %s: %s %s round %d, log %d", what, o.self, v.Status, v.Phase, v.Round, v.LogSize)
			}
		}
	}
}

func (c *cluster) leader() *Coordinator {
	c.t.Helper()
	c.wait("a leader that all know", func(o *Coordinator) bool { return c.up[o.Leader()] != nil })
	return c.up[c.any().Leader()]
}

// say proposes a statement at some coordinator.
func (c *cluster) say(k identity.Key, st run.Statement) error {
	c.t.Helper()
	id, err := c.spec.ID()
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := run.Sign(id, k, st)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	return c.any().Propose(ctx, s)
}

func (c *cluster) must(k identity.Key, st run.Statement) {
	c.t.Helper()
	if err := c.say(k, st); err != nil {
		c.t.Fatalf("%s: %v", st.Kind(), err)
	}
}

// round plays a whole round of all members.
func (c *cluster) round(r uint64, from digest.Sum) digest.Sum {
	c.t.Helper()
	for _, m := range c.members {
		c.must(m, run.Ready{Round: r, State: from})
	}
	for _, m := range c.members {
		c.must(m, run.Commit{Round: r, State: from, Contribution: digest.Of([]byte("g")), Units: digest.Of([]byte("u")), Targets: 10})
	}
	ring := run.ContributorsDigest(r, 1, addresses(c.members))
	for _, m := range c.members {
		c.must(m, run.Result{Round: r, Attempt: 1, Contributors: ring, Reduced: digest.Of([]byte("sum"))})
	}
	return digest.Of(from[:])
}

// agree waits until every running coordinator has the same log, and k of
// signed heads cover its end.
func (c *cluster) agree() {
	c.t.Helper()
	leader := c.leader()
	size, root := leader.fsm.log()
	c.wait("the same log", func(o *Coordinator) bool { have, _ := o.fsm.log(); return have == size })
	for _, o := range c.up {
		if have, err := o.Records().Root(size); err != nil || have != root {
			c.t.Fatalf("%s has root %v, %v, the leader %v", o.self, have, err, root)
		}
	}
	c.wait("heads", func(o *Coordinator) bool {
		heads, _, _ := o.Heads(0)
		n := 0
		for _, s := range heads {
			if h := s.Statement.(run.Head); h.Index == size && h.Root == root {
				n++
			}
		}
		return n >= min(len(c.up), c.spec.Threshold)
	})
}

func TestOneCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 2)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		state1 := c.round(1, c.spec.InitialState)
		c.agree()
		self := c.keys[0].Address()
		size, root := c.up[self].fsm.log()
		c.stop(self)
		c.start(c.keys[0])
		c.wait("log is back", func(o *Coordinator) bool { have, r := o.fsm.log(); return have == size && r == root })
		c.round(2, state1)
		c.agree()
	})
}

func TestLeaderDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		s := c.round(1, c.spec.InitialState)
		c.agree()
		dead := c.leader().self
		c.stop(dead)
		s = c.round(2, s)
		c.agree()
		for _, k := range c.keys {
			if k.Address() == dead {
				c.start(k)
			}
		}
		c.round(3, s)
		c.agree()
		var refused *state.Refused
		if err := c.say(c.members[0], run.Ready{Round: 3, State: s}); !errors.As(err, &refused) {
			t.Errorf("a statement about the past: %v", err)
		}
		if err := c.say(key("stranger"), run.Ready{Round: 4, State: s}); !errors.As(err, &refused) {
			t.Errorf("a stranger's statement: %v", err)
		}
	})
}

func TestSnapshotCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2)
		c.every = 16
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		behind := c.keys[0]
		c.stop(behind.Address())
		s := c.spec.InitialState
		for r := uint64(1); r <= 12; r++ {
			s = c.round(r, s)
		}
		for _, o := range c.up {
			if err := o.raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
		s = c.round(13, s)
		first, err := c.leader().store.FirstIndex()
		if err != nil || first < 10 {
			t.Fatalf("raft's log still begins at %d, %v: nothing to catch up by snapshot", first, err)
		}
		c.start(behind)
		c.agree()
		c.stopAll()
		c.startAll()
		c.round(14, s)
		c.agree()
	})
}

func TestWipedCoordinatorRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1)
		c.startAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		c.stopAll()
		cfg := c.config(c.keys[0])
		cfg.Dir = t.TempDir()
		var wiped *WipedError
		if _, err := Open(cfg); !errors.As(err, &wiped) {
			t.Errorf("opened on an empty disk: %v", err)
		}
		if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 {
			t.Errorf("the refusal left %v where the backup belongs: %v", left, err)
		}
	})
}

func TestSilentMemberExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2)
		var probed []identity.Address
		c.probe = func(_ context.Context, a identity.Address) error {
			probed = append(probed, a)
			return errors.New("no answer")
		}
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		for _, m := range c.members {
			c.must(m, run.Ready{Round: 1, State: c.spec.InitialState})
		}
		alive, silent := c.members[0], c.members[1].Address()
		began := time.Now()
		c.must(alive, run.Commit{Round: 1, State: c.spec.InitialState, Contribution: digest.Of([]byte("g")), Units: digest.Of([]byte("u")), Targets: 10})
		c.wait("ring without the silent one", func(o *Coordinator) bool {
			v := o.View()
			return v.Phase == state.Reduce && len(v.Contributors) == 1
		})
		if took := time.Since(began); took < minPatience || took > minPatience+2*time.Second {
			t.Errorf("expired after %s", took)
		}
		if v := c.any().View(); !slices.Contains(v.Gone, silent) {
			t.Errorf("gone: %v", v.Gone)
		}
	})
}

// TestForgedFrames sends what a malicious or broken peer could, under a
// coordinator's own name and under another's, and demands that the group goes
// on in the same term.
func TestForgedFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		c.agree()
		leader := c.leader()
		before := leader.Term()
		forger := c.keys[0].Address()
		victim := c.keys[1].Address()
		for name, b := range forgedFrames(forger, victim) {
			conn, err := pipeEnd{c.net, forger}.Dial(t.Context(), victim)
			if err != nil {
				t.Fatal(err)
			}
			go conn.Write(b)
			conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			reply, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("%s: connection not closed: %v", name, err)
			}
			t.Logf("%s: %s", name, reply[min(4, len(reply)):])
			conn.Close()
		}
		c.round(1, c.spec.InitialState)
		c.agree()
		if term := c.leader().Term(); term > before+2 {
			t.Errorf("term went from %d to %d", before, term)
		}
	})
}
