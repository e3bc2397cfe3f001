package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/replay"
)

// replayAlone is the replay command.
func (c *command) replayAlone(ctx context.Context) error {
	if c.shards == "" {
		return usagef("--shards is needed: a replay computes on the run's samples")
	}
	if c.all && c.round > 0 {
		return usagef("--round and --all exclude each other")
	}
	if c.processors < 0 {
		return usagef("--processors: want 0 or more, got %d", c.processors)
	}
	e, err := c.open()
	if err != nil || e == nil {
		return err
	}
	if err := c.checkReplay(ctx, e); err != nil {
		c.wrong("replay", err)
	}
	return c.end(e)
}

// checkReplay replays the rounds asked for, or the one that is drawn, and one
// unit.
func (c *command) checkReplay(ctx context.Context, e *verify.Evidence) error {
	dirs, err := c.startingPoints(e)
	if err != nil {
		return err
	}
	source, folder, err := e.Samples(c.shards)
	if err != nil {
		return err
	}
	defer folder.Close()
	audit := &replay.Audit{Evidence: e, Checkpoints: dirs, Source: source, Device: cpu.New(c.processors)}
	covered, uncovered := audit.Covered()
	seed := replay.NewSeed(e.Root)
	rounds, how := covered, "as asked"
	switch {
	case c.round > 0:
		rounds = []uint64{c.round}
	case len(covered) == 0:
		c.nameUncovered(covered, nil, uncovered)
		return &verify.Missing{What: "a round that the evidence covers", Hint: "fetch the evidence again: members keep what replays the rounds since their last two checkpoints"}
	case !c.all:
		rounds, how = []uint64{seed.Round(covered)}, fmt.Sprintf("drawn by the log's root among %d", len(covered))
	}
	for i, round := range rounds {
		if err := c.replayRound(ctx, audit, round, how); err != nil {
			return err
		}
		if i == 0 {
			if err := c.replayUnit(ctx, audit, round, seed); err != nil {
				return err
			}
		}
	}
	c.nameUncovered(covered, rounds, uncovered)
	return nil
}

// startingPoints returns the folders of checkpoints, in the evidence and given,
// by round. Each is checked before a replay starts from it.
func (c *command) startingPoints(e *verify.Evidence) (map[uint64]string, error) {
	dirs, err := e.CheckpointDirs()
	if err != nil {
		return nil, err
	}
	for _, dir := range c.checkpoints {
		_, m, err := checkpoint.ReadManifest(dir)
		if err != nil {
			return nil, &verify.Missing{What: "the checkpoint " + dir, Hint: err.Error()}
		}
		if _, ok := dirs[m.Round]; !ok {
			dirs[m.Round] = dir
		}
	}
	return dirs, nil
}

func (c *command) replayRound(ctx context.Context, a *replay.Audit, round uint64, how string) error {
	var bar *progress
	a.Progress = func(done, total int) {
		if bar == nil {
			bar = c.progress(fmt.Sprintf("replaying round %d, units", round), int64(total), false)
		}
		bar.set(int64(done))
	}
	report, err := a.Round(ctx, round)
	if bar != nil {
		bar.end()
	}
	if err != nil {
		return err
	}
	samples, units := 0, 0
	for _, m := range report.Members {
		samples, units = samples+m.Samples, units+m.Units
	}
	c.held("replay", map[string]any{
		"round": round, "checkpoint": report.Checkpoint, "members": len(report.Members), "units": units, "samples": samples,
		"before": report.Before, "reduced": report.Reduced, "after": report.After,
	}, "round %d, %s, from the checkpoint of round %d: %s, %s, %s, %s; contributions, sum %s, step and next state %s are equal in every bit",
		round, how, report.Checkpoint, count(len(report.Members), "member"), count(units, "unit"), count(samples, "sample"), count(report.Targets, "target"), report.Reduced.Short(), report.After.Short())
	return nil
}

// replayUnit replays the unit that the seed draws in a round.
func (c *command) replayUnit(ctx context.Context, a *replay.Audit, round uint64, seed replay.Seed) error {
	a.Progress = nil
	i := slices.IndexFunc(a.Evidence.Rounds, func(r verify.Round) bool { return r.Closed.Round == round })
	r := a.Evidence.Rounds[i]
	member := r.Closed.Contributors[seed.Member(len(r.Closed.Contributors))]
	span, _ := r.Span(member)
	n := span.Units(a.Evidence.Spec)
	if n == 0 || !a.Evidence.HasUnits(r.Commits[member].Units) {
		c.notChecked(fmt.Sprintf("a unit of round %d by itself: the unit hashes of member %s are not here", round, member.Short()))
		return nil
	}
	u, err := a.Unit(ctx, round, member, seed.Unit(n))
	if err != nil {
		return err
	}
	c.held("unit", map[string]any{"round": round, "member": member, "unit": u.Unit, "gradient": u.Gradient, "root": u.Root},
		"round %d, member %s, unit %d of 0 … %d: running gradient %s leads by %s to the signed root %s",
		round, member.Short(), u.Unit, u.Units-1, u.Gradient.Short(), count(len(u.Path), "hash"), u.Root.Short())
	return nil
}

// nameUncovered says which rounds were not replayed, and why.
func (c *command) nameUncovered(covered, done []uint64, uncovered []replay.Uncovered) {
	var left []uint64
	for _, round := range covered {
		if !slices.Contains(done, round) {
			left = append(left, round)
		}
	}
	if len(left) > 0 {
		c.notChecked("the training of " + ranges(left) + ": covered by the evidence, but not drawn (--all replays every round that is)")
	}
	reasons := map[string][]uint64{}
	for _, u := range uncovered {
		reasons[u.Reason] = append(reasons[u.Reason], u.Round)
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		c.notChecked("the training of " + ranges(reasons[reason]) + ": " + reason)
	}
}
