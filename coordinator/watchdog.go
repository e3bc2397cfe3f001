package coordinator

import (
	"fmt"
	"slices"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
)

// Progress is what a member reports of itself once a second, outside Raft.
type Progress struct {
	Round   uint64           `json:"round"`
	Attempt uint64           `json:"attempt"`
	Phase   string           `json:"phase"`   // "sync", "compute", "ring" and its two phases, "keep", "apply", "checkpoint", "idle", "finished"
	Step    uint64           `json:"step"`    // of the ring; elsewhere quarters of a second of processor time
	Units   uint64           `json:"units"`   // computed in this round
	Bytes   uint64           `json:"bytes"`   // moved in this round
	Waiting identity.Address `json:"waiting"` // for whom; zero if for nobody
}

// stage is what a member is at: counters of different stages do not compare.
type stage struct {
	round, attempt uint64
	phase          string
}

func (p Progress) stage() stage { return stage{p.Round, p.Attempt, p.Phase} }

const (
	reportEvery   = time.Second
	minPatience   = 5 * time.Second // counters may stand still at least this long
	patienceTimes = 4               // and as long as this many median intervals between changes
	keepIntervals = 16
	maxStages     = 1024             // of one member in one phase of the run; more do not count
	slowTimes     = 10               // as long as half of those who owed took, and
	slowLeast     = 10 * time.Minute // so long, anybody may take, however much its counters move
)

// watchdog finds members that have fallen silent. It knows no clock: times
// are arguments. Only the leader asks it; a new leader starts with a new one.
type watchdog struct {
	phase  phase     // of the run, at the last check
	began  time.Time // when that phase began
	since  time.Time // when it began, or when somebody was named last: since then all have had time
	owed   int       // how many owed something when the phase began
	half   time.Time // when at most half of them still did; zero if more do
	pulses map[identity.Address]*pulse
}

// phase names a stretch of a run in which the same members owe the same.
type phase struct {
	name           string
	round, attempt uint64
}

// pulse is what one member has reported.
type pulse struct {
	last      Progress
	reported  time.Time
	changed   time.Time       // when its counters last rose
	intervals []time.Duration // between rises, the newest keepIntervals of them
	// highest is the largest counters in each stage that it was in since the
	// phase of the run began. Only a new stage or a new maximum is getting on:
	// a counter that goes up and down is not.
	highest map[stage]Progress
}

// suspect is a member to expire, and why.
type suspect struct {
	member identity.Address
	reason string
}

func newWatchdog() *watchdog { return &watchdog{pulses: map[identity.Address]*pulse{}} }

// report takes a member's report.
func (w *watchdog) report(now time.Time, from identity.Address, p Progress) {
	u := w.pulses[from]
	if u == nil {
		w.pulses[from] = &pulse{last: p, reported: now, changed: now, highest: map[stage]Progress{p.stage(): p}}
		return
	}
	if u.rises(p) {
		u.intervals = append(u.intervals, now.Sub(u.changed))
		if len(u.intervals) > keepIntervals {
			u.intervals = u.intervals[1:]
		}
		u.changed = now
	}
	u.last, u.reported = p, now
}

// rises reports whether a member has got further than ever in this phase of
// the run, and notes how far.
func (u *pulse) rises(p Progress) bool {
	top, known := u.highest[p.stage()]
	if !known && len(u.highest) >= maxStages {
		return false
	}
	rises := !known || p.Step > top.Step || p.Units > top.Units || p.Bytes > top.Bytes
	top.Step, top.Units, top.Bytes = max(p.Step, top.Step), max(p.Units, top.Units), max(p.Bytes, top.Bytes)
	u.highest[p.stage()] = top
	return rises
}

// patience is how long a member's counters may stand still.
func (u *pulse) patience() time.Duration {
	if len(u.intervals) == 0 {
		return minPatience
	}
	sorted := slices.Sorted(slices.Values(u.intervals))
	return max(minPatience, patienceTimes*sorted[len(sorted)/2])
}

// check returns whom to expire among the members that owe something in a
// phase of the run: those whose counters stand still and whose reports have
// stopped. If all still report and all stand still, it is one of them: the one
// at the lowest step that waits for nobody, or if all wait, at the lowest step;
// the others have their patience again before the next is named. Whoever takes
// much longer than half of the others is suspected however much it reports.
func (w *watchdog) check(now time.Time, p phase, owing []identity.Address) []suspect {
	w.enter(now, p, len(owing))
	if late := w.late(now, owing); len(late) > 0 {
		return late
	}
	var silent []suspect
	still := 0
	for _, member := range owing {
		u := w.pulses[member]
		if u == nil {
			u = &pulse{reported: w.since, changed: w.since}
		}
		patience := u.patience()
		if now.Sub(latest(u.changed, w.since)) < patience {
			continue
		}
		still++
		if quiet := now.Sub(latest(u.reported, w.since)); quiet >= min(patience, minPatience) {
			silent = append(silent, suspect{member, fmt.Sprintf("no report for %s", quiet.Truncate(time.Second))})
		}
	}
	if len(silent) > 0 || still < len(owing) || still == 0 {
		return silent
	}
	w.since = now
	return []suspect{w.slowest(owing)}
}

// enter notes where the run is.
func (w *watchdog) enter(now time.Time, p phase, owing int) {
	if p != w.phase || w.since.IsZero() {
		w.phase, w.began, w.since, w.owed, w.half = p, now, now, owing, time.Time{}
		for _, u := range w.pulses {
			u.highest = map[stage]Progress{u.last.stage(): u.last}
		}
	}
	if w.half.IsZero() && 2*owing <= w.owed {
		w.half = now
	}
}

// late returns those who take much longer than half of the others did.
func (w *watchdog) late(now time.Time, owing []identity.Address) []suspect {
	if w.half.IsZero() || now.Sub(w.began) < max(slowLeast, slowTimes*w.half.Sub(w.began)) {
		return nil
	}
	var out []suspect
	for _, member := range owing {
		out = append(out, suspect{member, fmt.Sprintf("not done after %s, half were after %s", now.Sub(w.began).Truncate(time.Second), w.half.Sub(w.began).Truncate(time.Second))})
	}
	return out
}

// slowest picks among members that all report and all stand still.
func (w *watchdog) slowest(owing []identity.Address) suspect {
	compare := func(a, b identity.Address) int {
		p, q := w.pulses[a].last, w.pulses[b].last
		switch {
		case p.Waiting.IsZero() != q.Waiting.IsZero():
			if p.Waiting.IsZero() {
				return -1
			}
			return 1
		case p.Step != q.Step:
			if p.Step < q.Step {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	}
	worst := slices.MinFunc(owing, compare)
	p := w.pulses[worst].last
	return suspect{worst, fmt.Sprintf("stands still in %s at step %d", p.Phase, p.Step)}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
