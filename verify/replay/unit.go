package replay

import (
	"context"
	"fmt"

	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// UnitReport says which unit of a member's contribution was computed again.
type UnitReport struct {
	Round      uint64
	Member     identity.Address
	Unit       int          // of Units, from 0
	Units      int          // in the member's span
	Gradient   digest.Sum   // SHA-256 of the running gradient after the unit: the leaf's data
	Path       []digest.Sum // from there to Root, bottom up
	Root       digest.Sum   // as the member committed to it
	Checkpoint uint64       // round of the checkpoint the replay started from
}

// Unit replays one contributor's work of a round up to and with one unit, and
// holds the running gradient against the unit root that the member committed
// to. It needs that contribution's unit hashes in the evidence. Errors are
// those of [Audit.Round].
func (a *Audit) Unit(ctx context.Context, round uint64, member identity.Address, unit int) (UnitReport, error) {
	u := UnitReport{Round: round, Member: member, Unit: unit}
	r, err := a.round(round)
	if err != nil {
		return u, err
	}
	span, ok := r.Span(member)
	commit, committed := r.Commits[member]
	u.Units, u.Root = span.Units(a.Evidence.Spec), commit.Units
	if !ok || !committed || unit < 0 || unit >= u.Units {
		return u, &verify.Missing{What: fmt.Sprintf("unit %d of %s", unit, who(r, member)), Hint: "the member committed to no such unit"}
	}
	leaves, err := a.leaves(r, member)
	if err != nil {
		return u, err
	}
	var report Report
	state, err := a.start(r, &report)
	if err != nil {
		return u, err
	}
	u.Checkpoint = report.Checkpoint
	work, err := trainer.New(a.Evidence.Spec, a.Device, a.Source)
	if err != nil {
		return u, err
	}
	var ranges []run.Range
	for i := range unit + 1 {
		ranges = append(ranges, span.Unit(a.Evidence.Spec, i)...)
	}
	c, err := a.contribute(ctx, work, state, ranges, func(units int) { a.progress(units, unit+1) })
	if err != nil {
		return u, explain(who(r, member), err)
	}
	u.Gradient = c.Units[unit]
	u.Path = digest.Path(leaves, unit)
	root, err := digest.RootOf(digest.Leaf(u.Gradient[:]), unit, len(leaves), u.Path)
	if err != nil {
		return u, err
	}
	if root != u.Root {
		return u, mismatch(fmt.Sprintf("%s, unit %d: the root that its running gradient leads to", who(r, member), unit), root, u.Root)
	}
	return u, nil
}

// leaves returns the leaves of a member's unit root.
func (a *Audit) leaves(r verify.Round, member identity.Address) ([]digest.Sum, error) {
	hashes, err := a.Evidence.Units(r.Commits[member].Units)
	if err != nil {
		return nil, err
	}
	span, _ := r.Span(member)
	if want := span.Units(a.Evidence.Spec); len(hashes) != want {
		return nil, mismatch(who(r, member)+", its number of unit hashes", want, len(hashes))
	}
	leaves := make([]digest.Sum, len(hashes))
	for i, h := range hashes {
		leaves[i] = digest.Leaf(h[:])
	}
	return leaves, nil
}
