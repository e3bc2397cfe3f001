package node

import (
	"context"
	"errors"
	"testing"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/allmend-network/allmend/verify/testrun"
)

// TestWhoBringsWhat submits statements over their signer's own stream and over
// another's: what is not for ever is not taken from anybody else, votes are.
func TestWhoBringsWhat(t *testing.T) {
	server := testHost(t, "server", nil)
	var taken []string
	server.serveSubmit(func(_ context.Context, s run.Signed) error {
		taken = append(taken, s.Statement.Kind())
		return nil
	}, func() uint64 { return 0 })
	signer, other := testHost(t, "signer", nil), testHost(t, "other", nil)
	meet(t, signer, server)
	meet(t, other, server)
	for _, test := range []struct {
		st     run.Statement
		anyone bool
	}{
		{run.Ready{Round: 1}, false},
		{run.Commit{Round: 1}, false},
		{run.Result{Round: 1, Attempt: 1}, false},
		{run.Fault{Round: 1, Attempt: 1, Phase: "reduce-scatter"}, false},
		{run.Checkpoint{Round: 1}, false},
		{run.Expire{Round: 1, Reason: "silent"}, false},
		{run.Head{Index: 1}, false},
		{run.Accept{Spec: testRun}, false},
		{run.Control{Number: 1, Action: run.Pause}, true},
		{run.Rewind{Number: 1}, true},
		{run.Member{Number: 1, Action: run.Admit, Role: run.RoleMember, Subject: identity.Address{1}}, true},
	} {
		s, err := run.Sign(testRun, testrun.Key("signer"), test.st)
		if err != nil {
			t.Fatal(err)
		}
		taken = nil
		if err := signer.Submit(soon(t), server.Self(), s); err != nil || len(taken) != 1 {
			t.Errorf("%s of its signer: %v", test.st.Kind(), err)
		}
		taken = nil
		err = other.Submit(soon(t), server.Self(), s)
		if test.anyone && (err != nil || len(taken) != 1) {
			t.Errorf("%s of another: %v", test.st.Kind(), err)
		}
		if !test.anyone && (!errors.As(err, new(*state.Refused)) || len(taken) != 0) {
			t.Errorf("%s of another: taken %v, %v", test.st.Kind(), taken, err)
		}
	}
}
