package member_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

var seeds = flag.Uint64("seeds", 8, "how many runs of chaos")

// TestChaos lets processes run, die and come back by chance, then heals
// everything: the run must reach its end, every member the same state, and
// every closed round must be the sum of what its contributors committed.
func TestChaos(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := &chaos{r: rand.New(rand.NewPCG(seed, 7))}
			c.world = newWorld(t, 3, 4, 1, func(s *run.Spec) { s.Rounds, s.Checkpoint = 6, 1+c.r.IntN(3) })
			c.command("world", nil)
			c.crash = func(*actor) bool { return c.r.IntN(120) == 0 }
			for range 400 {
				c.step()
			}
			c.crash = nil
			c.heal()
			c.verify()
		})
	}
}

// TestKilledAtEveryPoint kills one member at each point of a run where it may
// die, and starts it again at once or after it was expired.
func TestKilledAtEveryPoint(t *testing.T) {
	for _, expired := range []bool{false, true} {
		for point := 0; ; point++ {
			c := &chaos{world: newWorld(t, 1, 3, 0, nil)}
			c.command("world", nil)
			points := 0
			c.crash = func(a *actor) bool {
				if a.name == "m2" {
					points++
				}
				return a.name == "m2" && points == point+1
			}
			c.command("start", []string{"m1", "m2", "m3"})
			c.settle()
			if points <= point { // m2 came to the end alive
				c.verify()
				if point < 30 {
					t.Errorf("only %d points: this tests little", point)
				}
				break
			}
			c.notice()
			c.settle()
			if expired {
				c.watchdog()
			}
			c.heal()
			c.verify()
			if t.Failed() {
				t.Fatalf("killed at point %d, expired %v:\n%s", point, expired, c.out.String())
			}
		}
	}
}

type chaos struct {
	*world
	r *rand.Rand
}

func (c *chaos) step() {
	a := c.actors[c.r.IntN(len(c.actors))]
	v := c.machine.View()
	switch c.r.IntN(30) {
	case 0:
		c.command("kill", []string{a.name})
	case 1, 2, 3:
		if !a.alive {
			a.start()
		}
	case 4, 5:
		c.notice()
	case 6, 7:
		c.watchdog()
	case 8:
		if c.r.IntN(3) == 0 {
			c.command("control", []string{[]string{run.Pause, run.Resume}[c.r.IntN(2)]})
		}
	case 9:
		if c.r.IntN(8) == 0 {
			c.rewind(fmt.Sprint(v.Signed[c.r.IntN(len(v.Signed))].Round))
		}
	case 10:
		c.command("member", []string{run.Admit, "m5"})
	case 11:
		if !a.alive && c.r.IntN(4) == 0 {
			a.disk = member.Disk{Checkpoints: a.disk.Checkpoints, Reduced: a.disk.Reduced, Commit: a.disk.Commit, Result: a.disk.Result, Checkpoint: a.disk.Checkpoint}
		}
	case 12:
		c.retry()
	default:
		a.hear()
		a.work()
	}
}

func (c *chaos) admitted(a *actor) bool {
	return slices.ContainsFunc(c.machine.View().Members, func(m state.Member) bool { return m.Address == a.key.Address() })
}

// watchdog expires what the run waits for and what is dead.
func (c *chaos) watchdog() {
	for _, who := range c.machine.View().Awaited {
		if a := c.actor(c.names[who.String()]); !a.alive {
			c.command("expire", []string{a.name})
			return // the run may wait for others now
		}
	}
}

func (c *chaos) retry() {
	for _, a := range c.actors {
		if a.alive && !a.ended {
			a.do(a.member.Step(member.Retry{}))
		}
	}
}

// heal starts everybody and plays the watchdog until the run is finished.
func (c *chaos) heal() {
	for range 200 {
		for _, a := range c.actors {
			if !a.alive {
				a.start()
			}
		}
		c.settle()
		v := c.machine.View()
		switch {
		case v.Status == state.Finished:
			if !slices.ContainsFunc(c.actors, func(a *actor) bool { return c.admitted(a) && !a.ended }) {
				return
			}
			c.retry()
		case v.Status == state.Halted || v.Status == state.Paused && v.Reason == "by the coordinators":
			c.command("control", []string{run.Resume})
		case len(v.Awaited) > 0:
			c.retry()
			c.settle()
			c.expireStuck()
		}
	}
	c.command("states", nil)
	c.t.Fatalf("the run does not end:\n%s", last(c.out.String(), 6000))
}

// expireStuck does what the leader does when nothing moves: first those that
// wait for nobody, then a ring that stands.
func (c *chaos) expireStuck() {
	v := c.machine.View()
	for _, who := range v.Awaited {
		if a := c.actor(c.names[who.String()]); a.job == nil {
			c.command("expire", []string{a.name})
			return
		}
	}
	for _, who := range v.Awaited {
		a := c.actor(c.names[who.String()])
		if job, ok := a.job.(member.Ring); ok {
			a.fault(job.Contributors[(job.Rank+1)%len(job.Contributors)])
			return
		}
	}
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// verify replays the log the dumb way.
func (c *chaos) verify() {
	type commit struct{ work, state digest.Sum }
	commits := map[string]commit{}
	states := map[uint64]digest.Sum{0: c.spec.InitialState} // after a closed round
	lineage := []uint64{0}
	var open run.Open
	for _, e := range c.log {
		if e.Statement != nil {
			if st, ok := e.Statement.Statement.(run.Commit); ok {
				who, err := e.Statement.Signers(c.machine.ID())
				if err != nil {
					c.t.Fatal(err)
				}
				commits[fmt.Sprint(st.Round, who[0])] = commit{st.Contribution, st.State}
			}
		}
		switch x := e.Transition.(type) {
		case run.Open:
			open = x
			if want := states[lineage[len(lineage)-1]]; x.State != want {
				c.t.Errorf("round %d opens at %s, want %s", x.Round, x.State, want)
			}
		case run.Closed:
			var parts []any
			for _, a := range x.Contributors {
				k := commits[fmt.Sprint(x.Round, a)]
				if k.state != open.State || !slices.Contains(open.Roster, a) {
					c.t.Errorf("round %d has a contribution from another state, or from outside its roster", x.Round)
				}
				parts = append(parts, k.work)
			}
			if sum(parts...) != x.Reduced {
				c.t.Errorf("round %d is not the sum of its contributors' commits", x.Round)
			}
			states[x.Round] = sum(open.State, x.Reduced, x.Step, x.Targets, open.Scalars)
			lineage = append(lineage, x.Round)
		case run.Rewound:
			lineage = slices.DeleteFunc(lineage, func(r uint64) bool { return r > x.Round })
		case run.CheckpointSigned:
			if states[x.Round] != x.State {
				c.t.Errorf("checkpoint %d is signed with state %s, want %s", x.Round, x.State, states[x.Round])
			}
		}
	}
	for _, a := range c.actors {
		if c.admitted(a) {
			if want := states[lineage[len(lineage)-1]]; a.root != want || !a.ended {
				c.t.Errorf("%s ends with state %s (ended %v), want %s", a.name, a.root, a.ended, want)
			}
		}
	}
}
