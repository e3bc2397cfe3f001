package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
)

// faults does to the swarm what the world would: it kills a node in the middle
// of a ring, lets a new one join while the killed one returns from its own
// disk, and kills the leading coordinator in the middle of another ring.
func (w *watch) faults(ctx context.Context) error {
	if err := w.reach(ctx, uint64(w.Rounds/8)); err != nil {
		return err
	}
	killed, err := w.killNode(ctx)
	if err != nil {
		return err
	}
	if err := w.relaunch(&killed); err != nil {
		return err
	}
	late, err := w.invite(ctx)
	if err != nil {
		return err
	}
	if err := w.back(ctx, killed); err != nil {
		return err
	}
	if err := w.welcome(ctx, late); err != nil {
		return err
	}
	if len(w.coordinators) < 3 {
		w.say("one coordinator is a group without fail-over: it is not killed")
		return nil
	}
	if err := w.reach(ctx, uint64(w.Rounds/2)); err != nil {
		return err
	}
	if killed, err = w.killLeader(ctx); err != nil {
		return err
	}
	if err := w.relaunch(&killed); err != nil {
		return err
	}
	return w.backInGroup(ctx, killed)
}

// absent is a peer that does not take part, and what is told of it in the end.
type absent struct {
	*peer
	fault
	launched time.Time
}

// relaunch starts a killed peer again.
func (w *watch) relaunch(a *absent) error {
	w.stage.doing = a.name + " starts again from its own disk"
	a.launched = time.Now()
	return w.launch(a.peer)
}

func (w *watch) reach(ctx context.Context, step uint64) error {
	_, err := w.until(ctx, fmt.Sprintf("%d rounds are closed", step), func(p picture) bool { return p.Step >= step || p.Status == "finished" })
	return err
}

var errFinished = errors.New("the run was finished before every fault was made; give it more rounds")

// caught is a node that stands still in the middle of a ring.
type caught struct {
	victim *peer
	round  uint64
	seen   member // one that was seen waiting for it
	ring   uint64
}

// catch freezes a node that has committed and whose ring then opens without
// it, and waits until another is seen waiting for it. While the node's commit
// is awaited, another that still computes is held, so that no ring can open
// too early: all this takes a fraction of a second.
func (w *watch) catch(ctx context.Context) (caught, error) {
	for {
		c, held, err := w.corner(ctx)
		if err != nil {
			return c, err
		}
		if held != nil {
			err = held.thaw()
		}
		if err != nil {
			return c, err
		}
		w.stage.doing = c.victim.name + " is frozen in the middle of a ring"
		missed := false
		p, err := w.until(ctx, "a member is seen waiting for "+c.victim.name, func(p picture) bool {
			missed = p.Round != c.round || p.Status == "finished"
			c.seen, c.ring = waitsFor(p, c.victim.address), p.Attempt
			return missed || c.seen.Phase != ""
		})
		if err != nil {
			return c, err
		}
		if !missed {
			return c, nil
		}
		// Its result had left before it froze: the round is closed. Try the next.
		if err := c.victim.thaw(); err != nil {
			return c, err
		}
		if p.Status == "finished" {
			return c, errFinished
		}
	}
}

// corner brings about what catch needs: a round in which the victim, frozen
// now, has committed, and another member, held, has not.
func (w *watch) corner(ctx context.Context) (c caught, held *peer, err error) {
	for {
		var round uint64
		p, err := w.until(ctx, "a round is open with members that still compute", func(p picture) bool {
			return p.Phase == "compute" && len(p.Roster) > 1 && len(p.Awaited) > 0 || p.Status == "finished"
		})
		if err != nil {
			return c, nil, err
		}
		if p.Status == "finished" {
			return c, nil, errFinished
		}
		round, held = p.Round, w.node(p.Awaited[len(p.Awaited)-1])
		if err := held.freeze(); err != nil {
			return c, nil, err
		}
		p, err = w.until(ctx, "another member has committed", func(p picture) bool {
			c.victim = w.committed(p, held)
			return p.Round != round || p.Phase != "compute" || c.victim != nil
		})
		if err == nil && p.Round == round && p.Phase == "compute" {
			c.round = round
			return c, held, c.victim.freeze()
		}
		if err := errors.Join(err, held.thaw()); err != nil {
			return c, nil, err
		}
	}
}

// committed returns a node other than held that has committed in the round
// under way, or nil.
func (w *watch) committed(p picture, held *peer) *peer {
	for _, a := range p.Roster {
		if n := w.node(a); n != nil && n != held && !slices.Contains(p.Awaited, a) {
			return n
		}
	}
	return nil
}

// waitsFor returns a member that reports from the ring of the round under way
// that it waits for a; its phase is empty if there is none.
func waitsFor(p picture, a identity.Address) member {
	for _, m := range p.Members {
		if m.Waiting == a && m.Round == p.Round && p.Phase == "reduce" {
			return m
		}
	}
	return member{}
}

// node returns the node of an address, or nil.
func (w *watch) node(a identity.Address) *peer {
	for _, n := range w.nodes {
		if n.address == a {
			return n
		}
	}
	return nil
}

func (w *watch) killNode(ctx context.Context) (absent, error) {
	c, err := w.catch(ctx)
	if err != nil {
		return absent{}, err
	}
	f := fault{What: "was killed (-9)", Victim: c.victim.name, Round: c.round, Attempt: c.ring, Phase: c.seen.Phase, Step: c.seen.Step}
	killed := time.Now()
	if err := c.victim.slay(); err != nil {
		return absent{}, err
	}
	w.announce("%s killed with -9 in round %d, ring %d: %s waits for it at %s, step %d", f.Victim, f.Round, f.Attempt, w.names.of(c.seen.Address), f.Phase, f.Step)
	if _, err := w.until(ctx, "the round is closed without it", func(p picture) bool { return p.Round > c.round || p.Status == "finished" }); err != nil {
		return absent{}, err
	}
	f.Recovery = since(killed)
	w.say("  the others closed round %d %.1f s later, without it; its samples went back to the pool", c.round, f.Recovery)
	return absent{peer: c.victim, fault: f}, nil
}

// back waits until a node that was killed is in a round again.
func (w *watch) back(ctx context.Context, n absent) error {
	p, err := w.until(ctx, n.name+" is in a round again", func(p picture) bool {
		return p.Status == "finished" || p.Round > n.Round+1 && slices.Contains(p.Roster, n.address)
	})
	if err != nil {
		return err
	}
	n.fault.Back = since(n.launched)
	w.say("  %s is back from its own disk in round %d, after %.1f s", n.name, p.Current, n.fault.Back)
	w.survived(n.fault)
	return nil
}

// invite starts the late node, whose key the run does not know, and has it
// admitted.
func (w *watch) invite(ctx context.Context) (absent, error) {
	n := w.nodes[len(w.nodes)-1]
	w.announce("%s, a key that the run does not know, wants to join", n.name)
	late := absent{peer: n, fault: fault{What: "joined late", Victim: n.name}, launched: time.Now()}
	return late, errors.Join(w.launch(n), w.admit(ctx, n))
}

// welcome waits until the late node is in a round.
func (w *watch) welcome(ctx context.Context, n absent) error {
	p, err := w.until(ctx, n.name+" is in a round", func(p picture) bool {
		return p.Status == "finished" || slices.Contains(p.Roster, n.address)
	})
	if err != nil {
		return err
	}
	n.fault.Round, n.fault.Back = p.Current, since(n.launched)
	w.say("  admitted by %d coordinators, %s, which had the run's ID only, fetched the rest, caught up, and is in round %d after %.1f s", len(w.coordinators)/2+1, n.name, p.Current, n.fault.Back)
	w.survived(n.fault)
	return nil
}

// admit has the key taken in: more than half of the coordinators sign.
func (w *watch) admit(ctx context.Context, n *peer) error {
	signing := w.coordinators[:len(w.coordinators)/2+1]
	failed := make([]error, len(signing))
	var all sync.WaitGroup
	for i, c := range signing {
		all.Go(func() {
			_, failed[i] = w.tool(ctx, "members", "admit", n.address.String(), "--run", w.path("run"), "--key", w.keyFile(c.name), "--peer", c.multiaddr())
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// killLeader kills the leading coordinator while a ring is under way, which a
// frozen node keeps open until the leader is dead.
func (w *watch) killLeader(ctx context.Context) (absent, error) {
	c, err := w.catch(ctx)
	if err != nil {
		return absent{}, err
	}
	old := w.last.Leader
	leader := w.coordinator(old)
	if leader == nil {
		return absent{}, errors.Join(errors.New("no coordinator leads while a ring is under way"), c.victim.thaw())
	}
	f := fault{What: "was killed (-9) while it led", Victim: leader.name, Round: c.round, Attempt: c.ring, Phase: c.seen.Phase, Step: c.seen.Step}
	killed := time.Now()
	if err := errors.Join(leader.slay(), c.victim.thaw()); err != nil {
		return absent{}, err
	}
	w.announce("%s, the leader, killed with -9 in round %d, ring %d: %s waits for %s at %s, step %d", f.Victim, f.Round, f.Attempt, w.names.of(c.seen.Address), c.victim.name, f.Phase, f.Step)
	p, err := w.until(ctx, "another coordinator leads", func(p picture) bool { return !p.Leader.IsZero() && p.Leader != old })
	if err != nil {
		return absent{}, err
	}
	w.say("  %s leads after %.1f s", w.names.of(p.Leader), since(killed))
	p, err = w.until(ctx, "the round is closed", func(p picture) bool { return p.Round > c.round || p.Status == "finished" })
	if err != nil {
		return absent{}, err
	}
	f.Recovery = since(killed)
	w.say("  round %d was closed %.1f s after the leader died", c.round, f.Recovery)
	return absent{peer: leader, fault: f}, nil
}

// backInGroup waits until a coordinator that was killed has the whole log.
func (w *watch) backInGroup(ctx context.Context, c absent) error {
	if _, err := w.until(ctx, c.name+" has the whole log again", func(p picture) bool {
		s, err := w.ask(ctx, c.peer)
		return p.Status == "finished" || err == nil && s.LogSize >= p.LogSize
	}); err != nil {
		return err
	}
	c.fault.Back = since(c.launched)
	w.say("  %s is back from its own disk and has the whole log again, after %.1f s", c.name, c.fault.Back)
	w.survived(c.fault)
	return nil
}

func (w *watch) coordinator(a identity.Address) *peer {
	for _, c := range w.coordinators {
		if c.address == a {
			return c
		}
	}
	return nil
}

// announce says what is being done to the swarm, on the screen too.
func (w *watch) announce(format string, args ...any) {
	w.stage.doing = fmt.Sprintf(format, args...)
	w.say("! "+format, args...)
}

func (w *watch) survived(f fault) {
	w.stage.doing = ""
	w.stage.survived++
	w.report.Faults = append(w.report.Faults, f)
	w.tell("fault", f, "  ✓ "+f.text())
}
