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
	Phase   string           `json:"phase"`   // "sync", "compute", "commit", "ring", "apply", "checkpoint", "idle"
	Step    uint64           `json:"step"`    // of the phase
	Units   uint64           `json:"units"`   // computed in this round
	Bytes   uint64           `json:"bytes"`   // moved in this round
	Waiting identity.Address `json:"waiting"` // for whom; zero if for nobody
}

// counters is p without what does not count as getting on.
func (p Progress) counters() Progress {
	p.Waiting = identity.Address{}
	return p
}

const (
	reportEvery   = time.Second
	minPatience   = 5 * time.Second // counters may stand still at least this long
	patienceTimes = 4               // and as long as this many median intervals between changes
	keepIntervals = 16
)

// watchdog finds members that have fallen silent. It knows no clock: times
// are arguments. Only the leader asks it; a new leader starts with a new one.
type watchdog struct {
	phase  phase     // of the run, at the last check
	since  time.Time // when that phase began
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
	changed   time.Time       // when its counters last changed
	intervals []time.Duration // between changes, the newest keepIntervals of them
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
		w.pulses[from] = &pulse{last: p, reported: now, changed: now}
		return
	}
	if p.counters() != u.last.counters() {
		u.intervals = append(u.intervals, now.Sub(u.changed))
		if len(u.intervals) > keepIntervals {
			u.intervals = u.intervals[1:]
		}
		u.changed = now
	}
	u.last, u.reported = p, now
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
// at the lowest step that waits for nobody, or if all wait, at the lowest step.
func (w *watchdog) check(now time.Time, p phase, owing []identity.Address) []suspect {
	if p != w.phase || w.since.IsZero() {
		w.phase, w.since = p, now
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
	return []suspect{w.slowest(owing)}
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
