package coordinator

import (
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/hashicorp/raft"
)

// TestRotation replaces a coordinator whose disk is lost: the group takes the
// new key in, lets it catch up, and drops the old one.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 2)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		s := c.round(1, c.spec.InitialState)
		c.agree()
		lost := c.keys[2]
		c.stop(lost.Address())
		fresh := key("fresh")
		c.keys = append(c.keys[:2], fresh)
		c.start(fresh)
		st := run.Member{Number: 1, Action: run.Rotate, Role: run.RoleCoordinator, Subject: lost.Address(), Successor: fresh.Address()}
		for _, k := range c.keys[:2] {
			c.must(k, st)
		}
		c.must(fresh, st)
		c.wait("new voter", func(o *Coordinator) bool {
			future := o.raft.GetConfiguration()
			if future.Error() != nil {
				t.Fatal(future.Error())
			}
			var voters []identity.Address
			for _, server := range future.Configuration().Servers {
				a, err := identity.ParseAddress(string(server.ID))
				if err != nil {
					t.Fatal(err)
				}
				if server.Suffrage == raft.Voter {
					voters = append(voters, a)
				}
			}
			slices.SortFunc(voters, identity.Address.Compare)
			return slices.Equal(voters, o.View().Coordinators)
		})
		s = c.round(2, s)
		c.agree()
		c.stop(c.leader().self)
		c.round(3, s)
		c.agree()
	})
}

func FuzzRestore(f *testing.F) {
	spec := testSpec(keys("c", 1), keys("m", 1))
	machine, err := state.New(spec)
	if err != nil {
		f.Fatal(err)
	}
	b, err := machine.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	head := append([]byte(snapshotMagic), 0, 0, 0, 0, 0, 0, byte(len(b)>>8), byte(len(b)))
	f.Add(append(append(head, b...), recordsMagic...))
	f.Add([]byte(snapshotMagic + "\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := OpenRecords(filepath.Join(t.TempDir(), "records"))
		if err != nil {
			t.Fatal(err)
		}
		defer records.Close()
		m, err := newFSM(spec, records, newBell(), func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Restore(io.NopCloser(bytes.NewReader(b))); err == nil && m.compare() != nil {
			t.Error("restored records that are not the machine's")
		}
	})
}
