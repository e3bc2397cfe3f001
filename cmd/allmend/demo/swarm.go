package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
)

// peer is one coordinator or node: a key, a data directory, and the process
// that runs now, if one does.
type peer struct {
	*process
	name       string
	address    identity.Address
	id         string // libp2p peer ID
	port       int
	statusPort int // 0 for a node
	args       []string
	down       bool // killed and not started again yet: its end is no surprise
}

// multiaddr is where other peers reach p.
func (p *peer) multiaddr() string { return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", p.port, p.id) }

// swarm is the run's processes.
type swarm struct {
	*demo
	id           string // of the run
	names        names
	coordinators []*peer
	nodes        []*peer // the last one joins late if there are faults
}

// raise makes keys, fixes the run and starts every process but the late one.
func (d *demo) raise(ctx context.Context) (*swarm, error) {
	s := &swarm{demo: d, names: names{}}
	nodes := d.Nodes
	if d.Faults {
		nodes++
	}
	ports, err := freePorts(2*d.Coordinators + nodes)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(d.path("keys"), 0o700); err != nil {
		return nil, err
	}
	for i := range d.Coordinators {
		p, err := s.key(ctx, fmt.Sprintf("coordinator-%d", i+1))
		if err != nil {
			return nil, err
		}
		p.port, p.statusPort = ports[2*i], ports[2*i+1]
		s.coordinators = append(s.coordinators, p)
	}
	for i := range nodes {
		p, err := s.key(ctx, fmt.Sprintf("node-%d", i+1))
		if err != nil {
			return nil, err
		}
		p.port = ports[2*d.Coordinators+i]
		s.nodes = append(s.nodes, p)
	}
	if err := s.fix(ctx); err != nil {
		return nil, err
	}
	s.arguments()
	for _, p := range slices.Concat(s.coordinators, s.nodes[:d.Nodes]) {
		if err := s.launch(p); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// key makes a peer's key.
func (s *swarm) key(ctx context.Context, name string) (*peer, error) {
	answer, err := s.tool(ctx, "keys", "new", "--json", s.keyFile(name))
	if err != nil {
		return nil, err
	}
	var k struct {
		Address identity.Address `json:"address"`
		Peer    string           `json:"peer"`
	}
	if err := json.Unmarshal(answer, &k); err != nil {
		return nil, fmt.Errorf("allmend keys new: its answer cannot be read: %w", err)
	}
	s.names[k.Address] = name
	return &peer{name: name, address: k.Address, id: k.Peer}, nil
}

func (d *demo) keyFile(name string) string { return d.path("keys", name+".key") }

// fix writes run.yaml and makes the run of it.
func (s *swarm) fix(ctx context.Context) error {
	var coordinators, members []identity.Address
	for _, c := range s.coordinators {
		coordinators = append(coordinators, c.address)
	}
	for _, n := range s.nodes[:s.Nodes] {
		members = append(members, n.address)
	}
	config := s.path("run.yaml")
	if err := os.WriteFile(config, []byte(recipe("demo", s.Rounds, coordinators, members)), 0o644); err != nil {
		return err
	}
	answer, err := s.tool(ctx, "run", "init", config, "--shards", s.path("shards"), "--out", s.path("run"), "--json")
	if err != nil {
		return err
	}
	var made struct {
		Run        string `json:"run"`
		Parameters int    `json:"parameters"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return fmt.Errorf("allmend run init: its answer cannot be read: %w", err)
	}
	s.id, s.report.Run = made.Run, made.Run
	s.say("run %s: an Apertus of %s parameters, %d rounds of %d samples of %d tokens", made.Run[:16], thousands(int64(made.Parameters)), s.Rounds, globalBatch, sequenceLength)
	return nil
}

// arguments settles how each peer is started, now and after it was killed.
// Coordinators have the shards and serve them; nodes fetch the blocks they need
// from them and from each other. A node keeps one processor busy: with more of
// them the rounds would fly past faster than a killed process can return.
func (s *swarm) arguments() {
	var known []string
	for _, c := range s.coordinators {
		known = append(known, "--peer", c.multiaddr())
	}
	for _, c := range s.coordinators {
		c.args = append([]string{"coordinator", "--accept", "--heartbeat", "500ms", "--shards", s.path("shards"), "--status", fmt.Sprintf("127.0.0.1:%d", c.statusPort)}, s.common(c)...)
		c.args = append(append(c.args, "--run", s.path("run")), known...)
	}
	for i, n := range s.nodes {
		run := s.path("run")
		if i == s.Nodes {
			run = s.id // the late one knows no more; the rest comes from peers
		}
		n.args = append([]string{"node", "--stay", "--processors", "1"}, s.common(n)...)
		n.args = append(append(n.args, "--run", run), known...)
	}
}

func (s *swarm) common(p *peer) []string {
	return []string{
		"--key", s.keyFile(p.name), "--data", s.path(p.name),
		"--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p.port), "--log-format", "json",
	}
}

// launch starts a peer's process, for the first time or again.
func (s *swarm) launch(p *peer) error {
	started, err := s.start(p.name, p.args...)
	if err != nil {
		return err
	}
	p.process, p.down = started, false
	return nil
}

// slay kills a peer's process.
func (p *peer) slay() error {
	p.down = true
	return p.kill()
}

// allAlive fails when a process has ended that nobody killed. Once the run is
// finished they end by themselves.
func (s *swarm) allAlive(p picture) error {
	if p.Status == "finished" {
		return nil
	}
	for _, x := range s.everyone() {
		if x.down || x.alive() {
			continue
		}
		if x.err == nil {
			continue // it ended well: the run is over, and the next look will say so
		}
		return fmt.Errorf("%s ended by itself: %w; the last it said: %s", x.name, x.err, s.lastWords(x.name))
	}
	return nil
}

// everyone lists the peers that have ever been started.
func (s *swarm) everyone() []*peer {
	var all []*peer
	for _, p := range slices.Concat(s.coordinators, s.nodes) {
		if p.process != nil {
			all = append(all, p)
		}
	}
	return all
}

// started is a process of the swarm as JSON.
type started struct {
	Name    string           `json:"name"`
	Address identity.Address `json:"address"`
	Process int              `json:"process"` // its ID
	At      string           `json:"at"`      // multiaddr
}

// introduce says who takes part.
func (s *swarm) introduce() {
	for _, p := range s.everyone() {
		s.tell("process", started{p.name, p.address, p.cmd.Process.Pid, p.multiaddr()},
			fmt.Sprintf("  %-14s %s  process %d, 127.0.0.1:%d", p.name, p.address, p.cmd.Process.Pid, p.port))
	}
}

// train lets the run go on to its end, and does to it what faults says.
func (s *swarm) train(ctx context.Context) (*watch, error) {
	w := newWatch(s)
	if _, err := w.until(ctx, "every coordinator has accepted the run and the first round is open", func(p picture) bool { return p.Round > 0 && p.Phase != "gather" || p.Step > 0 }); err != nil {
		return w, err
	}
	w.closed = []closing{{time.Now(), w.last.Step}}
	if s.Faults {
		if err := w.faults(ctx); err != nil {
			return w, err
		}
	}
	if _, err := w.until(ctx, "the run is finished", func(p picture) bool { return p.Status == "finished" }); err != nil {
		return w, err
	}
	if l := w.stage.losses; len(l) > 0 {
		s.say("%d rounds are closed: loss %.3f at first, %.3f at last, %s tokens/s", w.last.Step, l[0], l[len(l)-1], thousands(int64(w.stage.speed)))
	}
	return w, nil
}
