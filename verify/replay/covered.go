package replay

import (
	"encoding/binary"
	"fmt"

	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
)

// Audit re-executes rounds of one run. It serves one goroutine at a time.
type Audit struct {
	Evidence    *verify.Evidence
	Checkpoints map[uint64]string // folders that may be started from, by round
	Source      trainer.Source    // of the run's shards
	Device      model.Device
	Progress    func(done, total int) // called after each unit computed; may be nil
}

// Uncovered is a closed round that the evidence does not suffice to replay.
type Uncovered struct {
	Round  uint64
	Reason string
}

// Covered says which closed rounds can be replayed: those whose starting state
// follows from a checkpoint and reduced vectors that are there, and after which
// the log names the state. It looks for files only; their bytes are checked
// when they are used.
func (a *Audit) Covered() (covered []uint64, uncovered []Uncovered) {
	for i, r := range a.Evidence.Rounds {
		if reason := a.lacks(i); reason != "" {
			uncovered = append(uncovered, Uncovered{r.Closed.Round, reason})
		} else {
			covered = append(covered, r.Closed.Round)
		}
	}
	return covered, uncovered
}

// lacks says what is missing to replay the i-th closed round, "" if nothing.
func (a *Audit) lacks(i int) string {
	rounds := a.Evidence.Rounds
	if rounds[i].Void {
		return "the coordinators took it back by a rewind"
	}
	from, ok := a.checkpointBefore(rounds[i].Closed.Round)
	if !ok {
		return "no checkpoint from before it is here"
	}
	for _, r := range between(rounds, from, rounds[i].Closed.Round) {
		if !a.Evidence.HasVector(r.Closed.Reduced) {
			return fmt.Sprintf("the reduced vector of round %d is not here", r.Closed.Round)
		}
	}
	if rounds[i].Next.IsZero() {
		return "the log does not say yet which state follows it"
	}
	return ""
}

// checkpointBefore returns the round of the nearest checkpoint before a round.
func (a *Audit) checkpointBefore(round uint64) (uint64, bool) {
	var best uint64
	found := false
	for c := range a.Checkpoints {
		_, signed := a.Evidence.Checkpoints[c]
		if c < round && (c == 0 || signed) && (!found || c > best) {
			best, found = c, true
		}
	}
	return best, found
}

// between returns the closed rounds after a checkpoint and before a round, void
// ones left out.
func between(rounds []verify.Round, from, to uint64) []verify.Round {
	var out []verify.Round
	for _, r := range rounds {
		if !r.Void && r.Closed.Round > from && r.Closed.Round < to {
			out = append(out, r)
		}
	}
	return out
}

// Seed is what an audit draws its samples by: SHA-256 of "allmend replay 1"
// and the log's root. Nobody knows it before the last record is written. Whoever
// writes that record can still try several; an auditor who minds replays more
// rounds, or ones of its own choice.
type Seed digest.Sum

// NewSeed returns the seed of a log's root.
func NewSeed(root digest.Sum) Seed {
	return Seed(digest.Of(append([]byte("allmend replay 1"), root[:]...)))
}

// pick returns the i-th number that the seed gives, below n: bytes 8·i to
// 8·i+7, big endian, mod n.
func (s Seed) pick(i, n int) int {
	return int(binary.BigEndian.Uint64(s[8*i:]) % uint64(n))
}

// Round draws one of the covered rounds, of which there must be one.
func (s Seed) Round(covered []uint64) uint64 { return covered[s.pick(0, len(covered))] }

// Member draws one of n contributors, and Unit one of n units.
func (s Seed) Member(n int) int { return s.pick(1, n) }

// Unit: see [Seed.Member].
func (s Seed) Unit(n int) int { return s.pick(2, n) }
