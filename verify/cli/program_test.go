package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/cli"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/allmend-network/allmend/verify/testrun"
)

func TestUsage(t *testing.T) {
	id := strings.Repeat("0", 64)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--run is needed: nothing is trusted by default"},
		{[]string{"run"}, "--run is needed"},
		{[]string{"--run", id}, "--evidence is needed"},
		{[]string{"--run", "0123", "--evidence", "x"}, "want 64 hexadecimal digits"},
		{[]string{"--run", strings.ToUpper(id[:63] + "a"), "--evidence", "x"}, "lower-case"},
		{[]string{"everything"}, `unknown command or argument "everything"`},
		{[]string{"run", "more"}, `"more"`},
		{[]string{"run", "--shard", "x"}, "unknown flag: --shard"},
		{[]string{"shards", "--run", id, "--evidence", "x"}, "--shards is needed"},
		{[]string{"shards", "--shards", "x", "--manifest", "abc"}, "--manifest"},
		{[]string{"shards", "--shards", "x", "--manifest", id, "--run", id}, "takes the place"},
		{[]string{"replay", "--run", id, "--evidence", "x"}, "--shards is needed"},
		{[]string{"replay", "--run", id, "--evidence", "x", "--shards", "x", "--round", "1", "--all"}, "exclude each other"},
		{[]string{"replay", "--run", id, "--evidence", "x", "--shards", "x", "--processors", "-1"}, "--processors"},
	} {
		stdout, stderr, code := verify(t, c.args...)
		if code != cli.Usage || !strings.HasPrefix(stderr, "allmend-verify: ") || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%q: exit code %d, want %d and %q\n%s%s", c.args, code, cli.Usage, c.want, stdout, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, command := range []string{"", "run", "shards", "checkpoint", "replay", "domain"} {
		stdout, _, code := verify(t, slices.DeleteFunc([]string{command, "--help"}, func(s string) bool { return s == "" })...)
		for _, want := range []string{"Examples:\n  allmend-verify " + command, "Exit codes:", "--run", "--evidence", "--json"} {
			if code != 0 || !strings.Contains(stdout, want) {
				t.Errorf("help of %q, exit code %d, does not say %q:\n%s", command, code, want, stdout)
			}
		}
	}
	var out strings.Builder
	if code := cli.RunAs(t.Context(), "allmend verify", []string{"run", "--help"}, nil, &out, &out); code != 0 || !strings.Contains(out.String(), "allmend verify run") {
		t.Errorf("help under another name:\n%s", &out)
	}
}

func TestSomethingMissing(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--run", r.ID.String(), "--evidence", none}, "allmend run fetch writes it"},
		{append(of(r, "checkpoint"), "--checkpoint", none), "manifest.json is missing"},
		{[]string{"shards", "--run", r.ID.String(), "--evidence", r.Evidence, "--shards", none}, "allmend shards fetch brings it"},
		{[]string{"replay", "--run", r.ID.String(), "--evidence", r.Evidence, "--shards", none}, "allmend shards fetch brings it"},
		{append(of(r, "replay"), "--round", "2"), "the evidence to replay round 2 is missing"},
		{append(of(r, "replay"), "--round", "99"), "the log closes no round of this number"},
	} {
		stdout, stderr, code := verify(t, c.args...)
		if code != cli.CouldNotSay || !strings.Contains(stderr, c.want) || !strings.Contains(stdout, "could not check everything") {
			t.Errorf("%q: exit code %d, want %d and %q\n%s%s", c.args, code, cli.CouldNotSay, c.want, stdout, stderr)
		}
	}
	// Not given is no error: it is named.
	stdout, _, code := verify(t, "--run", r.ID.String(), "--evidence", r.Evidence)
	if code != cli.Verified || !strings.Contains(stdout, "--shards was not given") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

func TestMissingDropoutsAreNamed(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	if err := os.Remove(filepath.Join(r.Shards, "dropped.parquet")); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := verify(t, of(r, "shards")...)
	if code != cli.Verified || !strings.Contains(stdout, "dropped.parquet: not here") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestShardsByManifest(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	stdout, stderr, code := verify(t, "shards", "--shards", r.Shards, "--manifest", r.Spec.Shards.String())
	if code != cli.Verified || !strings.Contains(stdout, "whether any run used these shards") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if _, _, code := verify(t, "shards", "--shards", r.Shards, "--manifest", r.ID.String()); code != cli.Failed {
		t.Errorf("another manifest: exit code %d", code)
	}
}

func TestDomain(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	for domain, want := range map[string]string{
		"example.org":     "30 documents of 1200 tokens kept; 1 document dropped by robots: disallowed (1)",
		"No.Example.org.": "no.example.org: 0 documents of 0 tokens kept; 1 document dropped",
		"example.com":     "0 documents of 0 tokens kept; none dropped",
		"ample.org":       "0 documents of 0 tokens kept; none dropped",
	} {
		stdout, stderr, code := verify(t, append(of(r, "domain"), domain)...)
		if code != cli.Verified || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d, want %q\n%s%s", domain, code, want, stdout, stderr)
		}
	}
	for _, domain := range []string{"https://example.org/page", "*.example.org", "ex ample.org", "localhost"} {
		if _, stderr, code := verify(t, append(of(r, "domain"), domain)...); code != cli.Usage || !strings.Contains(stderr, "is no domain name") {
			t.Errorf("%s: exit code %d\n%s", domain, code, stderr)
		}
	}
	if err := os.Remove(filepath.Join(r.Shards, "dropped.parquet")); err != nil {
		t.Fatal(err)
	}
	if stdout, _, code := verify(t, "domain", "example.org", "--shards", r.Shards, "--manifest", r.Spec.Shards.String()); code != cli.Verified || !strings.Contains(stdout, "what was dropped of example.org") {
		t.Errorf("without the dropped file: exit code %d\n%s", code, stdout)
	}
}

func TestComparedHeads(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	other := filepath.Join(t.TempDir(), "head.json")
	write := func(key string, head run.Head) {
		signed, err := run.Sign(r.ID, testrun.Key(key), head)
		if err != nil {
			t.Fatal(err)
		}
		b, err := signed.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("coordinator 1", run.Head{Index: r.Size, Root: r.Root})
	if stdout, _, code := verify(t, append(of(r, "run"), "--head", other)...); code != cli.Verified || !strings.Contains(stdout, "tells the same history") {
		t.Errorf("the same history: exit code %d\n%s", code, stdout)
	}
	write("coordinator 1", run.Head{Index: r.Size, Root: r.ID})
	if stdout, _, code := verify(t, append(of(r, "run"), "--head", other)...); code != cli.Failed || !strings.Contains(stdout, "signed both") {
		t.Errorf("another history: exit code %d\n%s", code, stdout)
	}
}

// TestReplayFindsLies runs the whole program on runs whose signatures are all
// right.
func TestReplayFindsLies(t *testing.T) {
	for _, c := range []struct {
		script testrun.Script
		want   string
	}{{testrun.Script{Liar: 6}, "round 6, member 0x"}, {testrun.Script{Disorder: 6}, "in the ring's order"}, {testrun.Script{Rate: 6}, "the state after it"}} {
		r := makeRun(t, c.script)
		stdout, stderr, code := verify(t, append(of(r, "replay"), "--all", "--processors", "1")...)
		if code != cli.Failed || !strings.Contains(stderr, c.want) || !strings.Contains(stdout, "verified     replay      round 5, as asked") {
			t.Errorf("%+v: exit code %d, want %q\n%s%s", c.script, code, c.want, stdout, stderr)
		}
	}
}

// TestReplayFromAnotherFolder starts from a checkpoint beside the evidence.
func TestReplayFromAnotherFolder(t *testing.T) {
	r := makeRun(t, testrun.Script{Everything: true})
	away := filepath.Join(t.TempDir(), "initial")
	if err := os.Rename(filepath.Join(r.Evidence, "checkpoints", "00000000"), away); err != nil {
		t.Fatal(err)
	}
	if _, _, code := verify(t, append(of(r, "replay"), "--round", "1")...); code != cli.CouldNotSay {
		t.Errorf("without its checkpoint: exit code %d", code)
	}
	stdout, stderr, code := verify(t, append(of(r, "replay"), "--round", "1", "--checkpoint", away)...)
	if code != cli.Verified || !strings.Contains(stdout, "round 1, as asked, from the checkpoint of round 0") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestJSON(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	stdout, _, code := verify(t, append(of(r, ""), "--json")...)
	results := map[string]int{}
	var end string
	for text := range strings.Lines(stdout) {
		var l struct {
			Check, Result, Detail string
			Facts                 map[string]any
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		results[l.Result]++
		end = l.Result
		if l.Check == "replay" && l.Facts["round"] != 5.0 {
			t.Errorf("replay: %v", l.Facts)
		}
	}
	if code != cli.Verified || end != "end" || results["verified"] != 9 || results["not checked"] == 0 || results["failed"] > 0 {
		t.Errorf("exit code %d, lines %v, the last %q", code, results, end)
	}
}

// TestNamesCannotSteerTheTerminal puts an escape sequence into a file's name.
func TestNamesCannotSteerTheTerminal(t *testing.T) {
	r := makeRun(t, testrun.Script{})
	if err := os.WriteFile(filepath.Join(r.Evidence, "x\x1b[2J\u202e\u009b"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := verify(t, of(r, "run")...)
	if all := stdout + stderr; code != cli.Failed || strings.ContainsAny(all, "\x1b\u202e\u009b") || !strings.Contains(all, `x\x1b[2J\u202e`) {
		t.Errorf("exit code %d\n%q", code, all)
	}
}

// TestLinksNoNetwork checks what an auditor's binary would hold.
func TestLinksNoNetwork(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not here to list dependencies")
	}
	out, err := exec.CommandContext(t.Context(), tool, "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, heavy := range []string{"github.com/libp2p/", "github.com/ipfs/", "github.com/hashicorp/", "github.com/multiformats/go-multiaddr"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("it links %s", strings.TrimSpace(dep))
			}
		}
	}
}
