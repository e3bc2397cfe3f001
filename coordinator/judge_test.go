package coordinator

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

func sign(t *testing.T, spec run.Spec, k identity.Key, st run.Statement) run.Signed {
	t.Helper()
	id, err := spec.ID()
	if err != nil {
		t.Fatal(err)
	}
	s, err := run.Sign(id, k, st)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openFSM(t *testing.T, c *cluster) *fsm {
	t.Helper()
	f, err := newFSM(c.spec, openRecords(t, filepath.Join(t.TempDir(), "records")), newBell(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fsm) must(t *testing.T, s run.Signed) {
	t.Helper()
	b, err := s.Marshal()
	if err == nil {
		err = f.apply(b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFalseSnapshot installs a snapshot whose state names another member beside
// the true records, which has the same size and root: nothing of it is taken.
func TestFalseSnapshot(t *testing.T) {
	c := newCluster(t, 1, 2)
	f := openFSM(t, c)
	f.must(t, sign(t, c.spec, c.keys[0], run.Accept{Spec: f.machine.ID()}))
	size, root := f.log()
	machine, err := f.machine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	install := func(machine []byte) (*fsm, error) {
		var b bytes.Buffer
		b.WriteString(snapshotMagic)
		b.Write(binary.BigEndian.AppendUint64(nil, uint64(len(machine))))
		b.Write(machine)
		if err := f.records.Export(&b, size); err != nil {
			t.Fatal(err)
		}
		g := openFSM(t, c)
		return g, g.Restore(io.NopCloser(&b))
	}
	honest, err := install(machine)
	if err != nil {
		t.Fatal(err)
	}
	if n, r := honest.log(); n != size || r != root {
		t.Errorf("restored %d records with root %s, want %d with %s", n, r, size, root)
	}
	attacker := key("attacker").Address().String()
	evil := bytes.ReplaceAll(machine, []byte(c.members[1].Address().String()), []byte(attacker))
	if _, err := state.Restore(c.spec, evil); err != nil {
		t.Skipf("the state alone is refused: %v", err)
	}
	follower, err := install(evil)
	if err == nil || !strings.Contains(err.Error(), "does not follow from its records") {
		t.Errorf("a forged state: %v", err)
	}
	if n, _ := follower.log(); n != 0 || follower.records.Len() != 0 {
		t.Errorf("something was taken: %d records in the state, %d on disk", n, follower.records.Len())
	}
}

// TestJudgeLeavesNoTrace judges every statement of a run, several times, in
// many states of the machine, and demands that only applying changes it.
func TestJudgeLeavesNoTrace(t *testing.T) {
	c := newCluster(t, 3, 3)
	f := openFSM(t, c)
	var said []run.Signed
	check := func(s run.Signed, fresh bool) {
		t.Helper()
		before, err := f.machine.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		view := f.view()
		got, err := f.judge(s)
		var refused *state.Refused
		if fresh && (!got || err != nil) || err != nil && !errors.As(err, &refused) {
			t.Fatalf("%s judged %v, %v", s.Statement.Kind(), got, err)
		}
		after, err := f.machine.Snapshot()
		if err != nil || !bytes.Equal(before, after) {
			t.Fatalf("judging a %s changed the machine: %v", s.Statement.Kind(), err)
		}
		if now := f.view(); now.LogRoot != view.LogRoot || len(now.Ready) != len(view.Ready) {
			t.Fatalf("judging a %s changed the view", s.Statement.Kind())
		}
	}
	say := func(k identity.Key, st run.Statement) {
		t.Helper()
		s := sign(t, c.spec, k, st)
		for _, old := range said {
			check(old, false)
		}
		check(s, true)
		f.must(t, s)
		said = append(said, s)
	}
	for _, k := range c.keys {
		say(k, run.Accept{Spec: f.machine.ID()})
	}
	from := c.spec.InitialState
	for r := uint64(1); r <= 3; r++ {
		for _, k := range c.members[:4-min(r, 2)] {
			say(k, run.Ready{Round: r, State: from})
		}
		for _, k := range c.members[:2] {
			say(k, run.Commit{Round: r, State: from, Contribution: digest.Of([]byte("g")), Units: digest.Of([]byte("u")), Targets: 10})
		}
		if r == 1 {
			size, _ := f.log()
			say(c.keys[0], run.Expire{Round: r, Size: size, Accused: c.members[2].Address(), Reason: "silent"})
		}
		ring := run.ContributorsDigest(r, 1, addresses(c.members[:2]))
		for _, k := range c.members[:2] {
			say(k, run.Result{Round: r, Attempt: 1, Contributors: ring, Reduced: digest.Of([]byte("sum"))})
		}
		from = digest.Of(from[:])
	}
}

// TestReplaysCostNothing proposes refused and old statements again and again:
// neither the log nor Raft's grows.
func TestReplaysCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		c.round(1, c.spec.InitialState)
		c.agree()
		old := run.Commit{Round: 1, State: c.spec.InitialState, Contribution: digest.Of([]byte("g")), Units: digest.Of([]byte("u")), Targets: 10}
		before, records := c.leader().raft.LastIndex(), c.leader().Records().Len()
		for range 20 {
			c.must(c.members[0], old)
			var refused *state.Refused
			if err := c.say(c.members[0], run.Ready{Round: 99, State: digest.Of(nil)}); !errors.As(err, &refused) {
				t.Errorf("a Ready for round 99: %v", err)
			}
			if err := c.say(key("stranger"), run.Ready{Round: 2, State: digest.Of(nil)}); !errors.As(err, &refused) {
				t.Errorf("a stranger's Ready: %v", err)
			}
		}
		if after := c.leader().raft.LastIndex(); after != before || c.leader().Records().Len() != records {
			t.Errorf("60 replays cost %d Raft entries and %d records", after-before, c.leader().Records().Len()-records)
		}
	})
}

// TestMarkerOfALateCoordinator admits a coordinator, lets it vote and sign, and
// loses its disk: it must not start again.
func TestMarkerOfALateCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1)
		joiner := key("joiner")
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		marker := c.config(joiner).Marker
		admit := run.Member{Number: 1, Action: run.Admit, Role: run.RoleCoordinator, Subject: joiner.Address()}
		c.must(c.keys[0], admit)
		c.must(joiner, admit)
		c.start(joiner)
		c.wait("it signs", func(o *Coordinator) bool {
			heads, _ := o.heads.after(0)
			for _, h := range heads {
				if h.by == joiner.Address() {
					return true
				}
			}
			return false
		})
		if _, err := os.Stat(marker); err != nil {
			t.Errorf("it has signed and is not marked: %v", err)
		}
		c.stop(joiner.Address())
		if err := os.RemoveAll(c.config(joiner).Dir); err != nil {
			t.Fatal(err)
		}
		var wiped *WipedError
		if _, err := Open(c.config(joiner)); !errors.As(err, &wiped) {
			t.Errorf("opened on an empty disk: %v", err)
		}
	})
}

// TestHeadsAreBoundedPerSigner floods one coordinator's heads: they push out
// its own only.
func TestHeadsAreBoundedPerSigner(t *testing.T) {
	l := newHeadLog()
	honest, liar := identity.Address{1}, identity.Address{2}
	add := func(by identity.Address, size uint64) {
		t.Helper()
		if fresh, err := l.add(by, run.Signed{Statement: run.Head{Index: size}}); err != nil || !fresh {
			t.Fatalf("head of %d records: %v, %v", size, fresh, err)
		}
	}
	add(honest, 1)
	for size := range uint64(3 * keepHeads) {
		add(liar, size)
	}
	add(honest, 2)
	heads, next := l.after(0)
	if len(heads) != keepHeads+2 || heads[0].by != honest || len(l.known) != len(heads) || next != 3*keepHeads+2 {
		t.Errorf("%d heads, %d known, first of %s, next %d", len(heads), len(l.known), heads[0].by, next)
	}
	if rest, _ := l.after(next - 1); len(rest) != 1 || rest[0].by != honest {
		t.Errorf("after the last but one: %v", rest)
	}
}

// TestExpireIsProposedAgain demands that the leader says an Expire again that
// was not applied, in the same phase of the run.
func TestExpireIsProposedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 2)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		o := c.any()
		term := &term{Coordinator: o, dog: newWatchdog(), told: map[identity.Address]telling{}}
		silent := c.members[0].Address()
		v := o.View()
		now := time.Now()
		p := phase{string(v.Phase), v.Round, v.Attempt}
		term.told[silent] = telling{p, now} // proposed, and lost on the way
		term.look(t.Context(), now)
		term.look(t.Context(), now.Add(minPatience+time.Second))
		if again := term.told[silent]; !again.at.After(now) {
			t.Error("not proposed again")
		}
		synctest.Wait()
	})
}

// TestCutOffLeaderRefusesNothing demands that a leader which the others no
// longer hear says "again" to what it would refuse: they may know better.
func TestCutOffLeaderRefusesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 1)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		leader := c.leader()
		c.net.isolate(leader.self, true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		late := sign(t, c.spec, key("admitted meanwhile"), run.Ready{Round: 1, State: c.spec.InitialState})
		if err := leader.Propose(ctx, late); err == nil || errors.As(err, new(*state.Refused)) {
			t.Errorf("the leader of nobody says: %v", err)
		}
		c.net.isolate(leader.self, false)
	})
}
