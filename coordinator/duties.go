package coordinator

import (
	"context"
	"slices"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/run"
)

const sayTimeout = 10 * time.Second

// duties signs what a coordinator signs without being asked: its consent, if
// its operator gave it, and checkpoints that a majority of members agrees on.
func (c *Coordinator) duties() error {
	for {
		changed := c.changed.wait()
		for _, st := range c.due() {
			if err := c.say(c.ctx, st); err != nil && c.ctx.Err() == nil {
				c.logger.Warn("a statement is not in the log yet", "kind", st.Kind(), "error", err)
			}
		}
		select {
		case <-changed:
		case <-time.After(headAgain): // what failed is said again
		case <-c.ctx.Done():
			return nil
		}
	}
}

// due returns the statements that this coordinator owes.
func (c *Coordinator) due() []run.Statement {
	v := c.View()
	if !slices.Contains(v.Coordinators, c.self) || slices.Contains(v.Distrusted, c.self) {
		return nil
	}
	var due []run.Statement
	if c.cfg.Accept && !slices.Contains(v.Accepted, c.self) && v.Status == state.Waiting {
		due = append(due, run.Accept{Spec: c.run})
	}
	for _, p := range v.Due {
		signed := slices.ContainsFunc(p.Coordinators, func(g state.Signature) bool { return g.Signer == c.self })
		if !p.Manifest.IsZero() && !signed {
			due = append(due, run.Checkpoint{Round: p.Round, Manifest: p.Manifest, State: p.State})
		}
	}
	return due
}

// say signs a statement and proposes it.
func (c *Coordinator) say(ctx context.Context, st run.Statement) error {
	s, err := run.Sign(c.run, c.cfg.Key, st)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sayTimeout)
	defer cancel()
	return c.Propose(ctx, s)
}

// tell proposes another's statement and does not mind if it is refused. One at
// a time: whoever sends much evidence against itself has sent enough.
func (c *Coordinator) tell(s run.Signed) {
	if !c.telling.CompareAndSwap(false, true) {
		return
	}
	c.working.Go(func() {
		defer c.telling.Store(false)
		ctx, cancel := context.WithTimeout(c.ctx, sayTimeout)
		defer cancel()
		if err := c.Propose(ctx, s); err != nil {
			c.logger.Info("evidence not taken", "kind", s.Statement.Kind(), "reason", err)
		}
	})
}
