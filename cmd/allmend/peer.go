package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/allmend-network/allmend/node"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/spf13/pflag"
)

// peerFlags are what coordinators and nodes have in common: long-running
// processes with a key, a data directory and a place on the network.
type peerFlags struct {
	*settings
	run        string // folder, spec.json or ID
	key        string // path
	passphrase passphrase
	data       string
	listen     []string
	announce   []string
	peers      []string
	status     string
	strangers  int
}

func newPeerFlags(flags *pflag.FlagSet, status string) *peerFlags {
	p := &peerFlags{settings: newSettings(flags)}
	flags.StringVar(&p.run, "run", "", "the run's folder, its spec.json, or its ID (then the rest comes from peers)")
	flags.StringVar(&p.key, "key", "", "key file of this process")
	p.passphrase.flags(flags, false)
	flags.StringVar(&p.data, "data", "", "data directory; it belongs to one process")
	flags.StringSliceVar(&p.listen, "listen", []string{"/ip4/0.0.0.0/tcp/4001"}, "multiaddr to listen on; may be repeated")
	flags.StringSliceVar(&p.announce, "announce", nil, "multiaddr to tell others instead, such as /dns4/gpu1.example.org/tcp/4001; may be repeated")
	flags.StringSliceVar(&p.peers, "peer", nil, "multiaddr of a coordinator, with /p2p/; may be repeated")
	flags.StringVar(&p.status, "status", status, "address of this machine, such as 127.0.0.1:7001, to serve /status and /metrics on; empty for none")
	flags.IntVar(&p.strangers, "strangers", node.DefaultStrangers, "connections of peers outside the run, who may read its log and evidence")
	return p
}

// ready is a process' configuration, resolved.
type ready struct {
	spec    run.Spec
	id      run.ID
	key     identity.Key
	logger  *slog.Logger
	network node.HostConfig // without Key, Run and Logger
}

// resolve reads what the flags and the file name.
func (p *peerFlags) resolve(ctx context.Context, c *console) (ready, error) {
	var r ready
	if err := p.load(); err != nil {
		return r, err
	}
	if p.run == "" || p.key == "" || p.data == "" {
		return r, usagef("--run, --key and --data are needed, as flags or in the file of --config")
	}
	if p.strangers < 0 {
		return r, usagef("--strangers %d: want 0, which shuts them out, or more", p.strangers)
	}
	var err error
	if r.logger, err = p.logger(c); err != nil {
		return r, err
	}
	if r.key, err = c.readKey(ctx, p.key, &p.passphrase); err != nil {
		return r, err
	}
	r.network = node.HostConfig{Software: software, Listen: p.listen, Announce: p.announce, Peers: p.peers, Strangers: p.strangers}
	r.spec, r.id, err = p.spec(ctx, c)
	return r, err
}

// spec reads the run's Spec from disk or, of a run known by its ID alone, from
// a peer.
func (p *peerFlags) spec(ctx context.Context, c *console) (run.Spec, run.ID, error) {
	if _, err := digest.Parse(p.run); err == nil {
		t := target{run: p.run, peers: p.peers, timeout: time.Minute}
		a, err := t.connect(ctx, c)
		if err != nil {
			return run.Spec{}, run.ID{}, err
		}
		return a.spec, a.id, a.host.Close()
	}
	spec, err := readSpec(p.run)
	if err != nil {
		return spec, run.ID{}, err
	}
	id, err := spec.ID()
	return spec, id, err
}

// startResult is who a process is, when it begins.
type startResult struct {
	Event   string           `json:"event"` // "BEGUN"
	Role    string           `json:"role"`
	Run     run.ID           `json:"run"`
	Address identity.Address `json:"address"`
	At      []string         `json:"at"`     // multiaddrs that others can use
	Status  string           `json:"status"` // address of /status and /metrics; "" if none
}

func (r startResult) text() string {
	text := fmt.Sprintf("%s %s of run %s", r.Role, r.Address, r.Run.Short())
	for _, at := range r.At {
		text += "\nothers reach it at  --peer " + at
	}
	if r.Status != "" {
		text += fmt.Sprintf("\nstatus  http://%s/status  http://%s/metrics", r.Status, r.Status)
	}
	return text + "\na firewall must let through TCP to the ports above, from every member and coordinator, and TCP from here to theirs; nothing else"
}

// begin serves the status, if wanted, and says that the process has begun. The
// channel is closed when the status server has ended after ctx.
func (p *peerFlags) begin(ctx context.Context, c *console, role string, r ready, contact node.Contact, current func() statusResult) (<-chan struct{}, error) {
	s := startResult{Event: "BEGUN", Role: role, Run: r.id, Address: contact.Address, At: append([]string{}, contact.At...)}
	if p.status == "" {
		closed := make(chan struct{})
		close(closed)
		return closed, c.result(s, s.text())
	}
	at, done, err := serveStatus(ctx, p.status, r.logger, current)
	if err != nil {
		return nil, err
	}
	s.Status = at
	return done, c.result(s, s.text())
}

// ended says how a process ended, given what stopped it: an end that was asked
// for is none to complain about.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	var locked *node.LockedError
	if errors.As(err, &locked) {
		return unavailableError{err}
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return unavailableError{fmt.Errorf("%w; choose another with --listen", err)}
	}
	return err
}
