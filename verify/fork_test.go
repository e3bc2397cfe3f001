package verify_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/allmend-network/allmend/verify/testrun"
)

func TestAgainst(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	e, err := verify.Open(r.ID, r.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	head, err := verify.ReadHead(filepath.Join(r.Evidence, verify.HeadFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Against(head); err != nil {
		t.Errorf("its own head: %v", err)
	}
	closed := e.Rounds[2]
	for _, c := range []struct {
		what string
		key  string
		head run.Head
		want string // "" if it agrees
	}{
		{"an older head", "coordinator 1", run.Head{Index: closed.LogSize, Root: closed.LogRoot}, ""},
		{"the empty log", "coordinator 2", run.Head{Root: digest.Root(nil)}, ""},
		{"another history of the same size", "coordinator 1", run.Head{Index: e.Size, Root: digest.Sum{1}}, testrun.Key("coordinator 1").Address().String() + " signed both"},
		{"another history of an older size", "coordinator 1", run.Head{Index: closed.LogSize, Root: digest.Sum{1}}, "stands behind another history"},
		{"a stranger", "stranger", run.Head{Index: e.Size, Root: digest.Sum{1}}, "is not a coordinator"},
		{"a longer log", "coordinator 1", run.Head{Index: e.Size + 1, Root: digest.Sum{1}}, "fetch the evidence again"},
	} {
		signed, err := run.Sign(r.ID, testrun.Key(c.key), c.head)
		if err != nil {
			t.Fatal(err)
		}
		err = e.Against(signed)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
		if missing := errors.As(err, new(*verify.Missing)); missing != (c.head.Index > e.Size) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if _, err := verify.ReadHead(filepath.Join(t.TempDir(), "none")); !errors.As(err, new(*verify.Missing)) {
		t.Errorf("no head: %v", err)
	}
}
