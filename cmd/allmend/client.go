package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/identity/keyfile"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/spf13/pflag"
)

// target is which run a command is about, and whom to ask about it.
type target struct {
	run     string   // the run's folder, a spec.json, or an ID
	peers   []string // multiaddrs
	timeout time.Duration
}

func (t *target) flags(flags *pflag.FlagSet) {
	flags.StringVar(&t.run, "run", "", "the run's folder, its spec.json, or its ID")
	flags.StringSliceVar(&t.peers, "peer", nil, "where to ask: multiaddr of a coordinator, with /p2p/; may be repeated")
	flags.DurationVar(&t.timeout, "timeout", 30*time.Second, "how long to try")
}

// client asks a run's peers. It is a stranger to them: it has a key of its own
// for the connection only.
type client struct {
	spec   run.Spec
	id     run.ID
	host   *node.Host
	peers  []identity.Address // those given, in order
	logger *slog.Logger
}

// connect starts a host and gets the run's Spec: from disk or, of a run known
// by its ID alone, from a peer.
func (t *target) connect(ctx context.Context, c *console) (*client, error) {
	if t.run == "" {
		return nil, usagef("--run is needed: the run's folder, or its ID")
	}
	var spec run.Spec
	id, err := digest.Parse(t.run)
	if err != nil {
		if spec, err = readSpec(t.run); err != nil {
			return nil, err
		}
		if id, err = spec.ID(); err != nil {
			return nil, err
		}
	}
	a, err := t.open(c, id)
	if err != nil {
		return nil, err
	}
	if a.spec = spec; spec.Version == 0 {
		if a.spec, err = a.fetchSpec(ctx, t.timeout); err != nil {
			return nil, errors.Join(err, a.host.Close())
		}
	}
	return a, nil
}

// open starts a host that knows the given peers.
func (t *target) open(c *console, id run.ID) (*client, error) {
	if len(t.peers) == 0 {
		return nil, usagef("--peer is needed: whom to ask")
	}
	a := &client{id: id, logger: slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, text := range t.peers {
		address, _, err := node.ParseContact(text)
		if err != nil {
			return nil, usageError{err}
		}
		a.peers = append(a.peers, address)
	}
	key, err := keyfile.Generate(rand.Reader)
	if err != nil {
		return nil, err
	}
	a.host, err = node.OpenHost(node.HostConfig{Key: key, Run: id, Software: software, Peers: t.peers, Logger: a.logger})
	return a, err
}

// fetchSpec gets the Spec that the run's ID names.
func (a *client) fetchSpec(ctx context.Context, timeout time.Duration) (run.Spec, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	temp, err := os.MkdirTemp("", "allmend-*")
	if err != nil {
		return run.Spec{}, err
	}
	defer os.RemoveAll(temp)
	path := filepath.Join(temp, verify.SpecFile)
	if err := a.host.Fetch(ctx, a.id, path, a.peers, node.CheckSHA256(a.id), 0, run.MaxSpecSize, nil); err != nil {
		return run.Spec{}, unavailableError{fmt.Errorf("the Spec of run %s: %w", a.id, err)}
	}
	return readSpec(path)
}

// anyone calls ask with one peer after the other until it succeeds.
func (a *client) anyone(ctx context.Context, ask func(context.Context, identity.Address) error) error {
	var all []error
	for _, peer := range a.peers {
		err := ask(ctx, peer)
		if err == nil || errors.As(err, new(*state.Refused)) || errors.As(err, new(*state.Fork)) {
			return err
		}
		all = append(all, err)
		if ctx.Err() != nil {
			break
		}
	}
	return unavailableError{fmt.Errorf("no peer could help; check --peer and whether it runs: %w", errors.Join(all...))}
}

// view returns the run's state as its log says it, up to what the peer had
// when it was asked and k coordinators have signed.
func (a *client) view(ctx context.Context) (*reading, error) {
	var r *reading
	err := a.anyone(ctx, func(ctx context.Context, peer identity.Address) (err error) {
		if r, err = newReading(a.spec, nil); err != nil {
			return err
		}
		return r.follow(ctx, a.host, peer, func() bool { return true })
	})
	return r, err
}

// submit has a statement applied by any coordinator there is.
func (a *client) submit(ctx context.Context, s run.Signed) error {
	return a.anyone(ctx, func(ctx context.Context, peer identity.Address) error { return a.host.Submit(ctx, peer, s) })
}

// reading is the run's log as a peer tells it, applied and checked here.
type reading struct {
	log     *state.Follower
	heads   *state.HeadSet
	leader  identity.Address
	waiting []state.Entry // derived, but not covered by k heads yet
	last    lastResult    // covered
	each    func(state.Entry) error
	told    uint64 // size of the peer's log when it said so first
	asked   bool   // told is set
}

// newReading returns the reading of an empty log. each, if not nil, is called
// with every entry that k coordinators' heads cover.
func newReading(spec run.Spec, each func(state.Entry) error) (*reading, error) {
	m, err := state.New(spec)
	if err != nil {
		return nil, err
	}
	if each == nil {
		each = func(state.Entry) error { return nil }
	}
	return &reading{log: state.Follow(m), heads: state.NewHeadSet(m.ID(), spec.Coordinators), each: each}, nil
}

// errEnough ends a stream that has told all that was wanted.
var errEnough = errors.New("enough")

// follow takes a peer's log until enough says so; it is asked whenever all
// that the peer had at first has come and is covered.
func (r *reading) follow(ctx context.Context, h *node.Host, peer identity.Address, enough func() bool) error {
	err := h.Follow(ctx, peer, r.log.Size(), func(f node.Followed) error {
		if err := r.take(f); err != nil {
			return err
		}
		if r.asked && r.heads.Covered() >= r.told && enough() {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	if r.asked && r.log.Size() < r.told && ctx.Err() != nil {
		return fmt.Errorf("%d of %s's %d records were read and checked when the time ran out; give it longer with --timeout: %w", r.log.Size(), peer, r.told, err)
	}
	if r.asked && r.heads.Covered() < r.told {
		return fmt.Errorf("%d of the %d records at %s have enough coordinators' signatures; are more than half of them running? %w", r.heads.Covered(), r.told, peer, err)
	}
	return err
}

func (r *reading) take(f node.Followed) error {
	switch {
	case f.Status != nil:
		r.leader = f.Status.Leader
		if !r.asked {
			r.told, r.asked = f.Status.Size, true
		}
	case f.Head != nil:
		// A head that cannot be placed is of no use, and no harm.
		if err := r.heads.Add(*f.Head); errors.As(err, new(*state.Fork)) {
			return err
		}
	default:
		e, err := r.log.Next(f.Record)
		if err != nil {
			return err
		}
		r.waiting = append(r.waiting, e)
		if size, root := r.log.Machine().Log(); size == r.log.Size() {
			if err := r.heads.Derived(size, root, r.log.Machine().View().Coordinators); err != nil {
				return err
			}
		}
	}
	for len(r.waiting) > 0 && r.waiting[0].Index < r.heads.Covered() {
		if closed, ok := r.waiting[0].Transition.(run.Closed); ok {
			r.last = describeClosed(closed)
		}
		if err := r.each(r.waiting[0]); err != nil {
			return err
		}
		r.waiting = r.waiting[1:]
	}
	return nil
}

// status describes the run as it was read.
func (r *reading) status() statusResult {
	m := r.log.Machine()
	s := describeView(m.Spec(), m.View())
	s.Leader, s.Last = r.leader, r.last
	return s
}
