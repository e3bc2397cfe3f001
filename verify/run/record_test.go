package run_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata/records.jsonl; understand the difference before you commit it")

// records is one record of each kind of transition, and one statement.
func records(t testing.TB) []run.Record {
	m := addresses(t, "m1", "m2")
	state, sum, manifest := digest.Of([]byte("state")), digest.Of([]byte("sum")), digest.Of([]byte("manifest"))
	ready, err := run.Sign(digest.Of([]byte("run")), key(t, "m1"), run.Ready{Round: 3, State: state})
	if err != nil {
		t.Fatal(err)
	}
	out := []run.Record{{Statement: &ready}}
	for _, x := range []run.Transition{
		run.Started{},
		run.Open{
			Round: 3, Step: 2, State: state, Roster: m, Ledger: run.NewLedger().Digest(), Revocations: run.NoRevocations,
			Spans:   []run.Span{{Member: 0, Ranges: []run.Range{{Start: 4, End: 8}}}, {Member: 1, Ranges: []run.Range{}}},
			Scalars: run.Schedule(testSpec(t), 2),
		},
		run.Ring{Round: 3, Attempt: 1, Contributors: m},
		run.Aborted{Round: 3, Attempt: 1, Reason: "a contributor is gone", Excluded: []identity.Address{}},
		run.Closed{Round: 3, Attempt: 2, Step: 2, Reduced: sum, Contributors: m, Targets: 20, Loss: 1065353216, Checkpoint: true},
		run.Skipped{Round: 4, Reason: "3 rings failed"},
		run.Paused{Reason: "too few members: 1 of 2 ready"},
		run.Halted{Reason: "why"},
		run.Resumed{},
		run.Finishing{Round: 5},
		run.Rewound{Round: 3, Step: 2, State: state, Void: []uint64{5, 6}},
		run.Expired{Member: m[0], Reason: "silent"},
		run.Changed{Number: 1, Action: run.Admit, Role: run.RoleMember, Subject: m[1]},
		run.Checkpointed{Round: 3, Manifest: manifest, State: state},
		run.CheckpointSigned{Round: 3, Step: 2, Manifest: manifest, State: state},
		run.Equivocation{Signer: m[0], Kind: "Commit", First: state, Second: sum},
		run.Finished{Round: 3, Step: 2},
	} {
		out = append(out, run.Record{Index: uint64(len(out)), Transition: x})
	}
	return out
}

func TestGoldenRecords(t *testing.T) {
	id := digest.Of([]byte("run"))
	var got bytes.Buffer
	for _, r := range records(t) {
		b, err := r.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(append(b, '\n'))
		back, err := run.ParseRecord(id, b)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := back.Marshal(id); err != nil || !bytes.Equal(again, b) || back.Index != r.Index {
			t.Errorf("%s encodes again as %s, %v", b, again, err)
		}
		if _, err := run.ParseRecord(digest.Of([]byte("another")), b); err == nil || !strings.Contains(err.Error(), "belongs to run") {
			t.Errorf("record of another run: %v", err)
		}
	}
	const file = "testdata/records.jsonl"
	if *rewrite {
		if err := os.WriteFile(file, got.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("records differ from %s (%v):\n%s", file, err, got.Bytes())
	}
}

func TestParseRecordRefuses(t *testing.T) {
	id := digest.Of([]byte("run"))
	b, err := records(t)[3].Marshal(id) // Ring
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for name, bad := range map[string]string{
		"unknown transition": strings.Replace(good, `"RING"`, `"RUNG"`, 1),
		"another transition": strings.Replace(good, `"RING"`, `"CLOSED"`, 1),
		"unknown key":        strings.Replace(good, `"attempt"`, `"attampt"`, 1),
		"additional key":     strings.Replace(good, `{"attempt"`, `{"a":1,"attempt"`, 1),
		"missing key":        strings.Replace(good, `"attempt":1,`, ``, 1),
		"case":               strings.Replace(good, `"attempt"`, `"Attempt"`, 1),
		"neither":            `{"index":3,"run":"` + id.String() + `"}`,
		"both":               good[:len(good)-1] + `,"statement":{}}`,
		"space":              good + " ",
	} {
		if _, err := run.ParseRecord(id, []byte(bad)); err == nil {
			t.Errorf("%s: %s is accepted", name, bad)
		}
	}
}

func TestContributorsDigest(t *testing.T) {
	m := addresses(t, "m1", "m2")
	want := digest.Of([]byte(`{"attempt":2,"contributors":["` + m[0].String() + `","` + m[1].String() + `"],"round":7}`))
	if got := run.ContributorsDigest(7, 2, m); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzParseRecord(f *testing.F) {
	id := digest.Of([]byte("run"))
	for _, r := range records(f) {
		b, err := r.Marshal(id)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := run.ParseRecord(id, b)
		if err != nil {
			return
		}
		if back, err := r.Marshal(id); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s is accepted but encodes as %s (%v)", b, back, err)
		}
	})
}
