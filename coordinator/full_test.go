package coordinator

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/run"
	"golang.org/x/sys/unix"
)

// limitFiles lets no file grow beyond size bytes, as a full disk does, until
// the returned function is called.
func limitFiles(t *testing.T, size uint64) (lift func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Skip("no limit on files can be set here: ", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: before.Max}); err != nil {
		t.Skip("no limit on files can be set here: ", err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordsOnAFullDisk demands that a write that fails half way leaves what
// was there, and that the next one succeeds when there is room again.
func TestRecordsOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	r := openRecords(t, path)
	records := someRecords(200)
	lift := limitFiles(t, 1000)
	var failed error
	for failed == nil && r.Len() < 200 {
		failed = r.Append(r.Len(), records[r.Len()])
	}
	lift()
	if !errors.Is(failed, unix.EFBIG) {
		t.Fatalf("after %d records: %v", r.Len(), failed)
	}
	if err := r.Append(r.Len(), records[r.Len():]...); err != nil {
		t.Fatal(err)
	}
	got, err := openRecords(t, path).Root(200)
	if want, _ := r.Root(200); err != nil || got != want {
		t.Errorf("root %v, %v; want %v", got, err, want)
	}
}

// TestCoordinatorOnAFullDisk fills a coordinator's disk while it works: nothing
// is applied and nothing is lost, and when there is room again it goes on, if
// need be after a restart.
func TestCoordinatorOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1)
		c.startAll()
		defer c.stopAll()
		c.wait("start", func(o *Coordinator) bool { return o.View().Status == state.Running })
		s := c.round(1, c.spec.InitialState)
		o := c.any()
		size, root := o.fsm.log()
		lift := limitFiles(t, 64)
		err := c.say(c.members[0], run.Ready{Round: 2, State: s})
		lift()
		if err == nil {
			t.Fatal("applied without room on the disk")
		}
		t.Logf("the proposer hears: %v", err)
		if now, _ := o.fsm.log(); now != size {
			t.Errorf("%d records, there were %d", now, size)
		}
		if o.Err() != nil {
			t.Logf("the coordinator ended with: %v", o.Err())
		}
		c.stop(o.self)
		c.startAll()
		c.wait("log is back", func(o *Coordinator) bool {
			have, err := o.Records().Root(size)
			n, _ := o.fsm.log()
			return n >= size && err == nil && have == root
		})
		c.round(2, s)
		c.agree()
	})
}
