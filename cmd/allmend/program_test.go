package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"allmend": func() { os.Exit(process()) },
	})
}

// TestScripts runs testdata/script: each line is a process of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":       exits,
			"smallshards": smallShards,
			"capture":     capture,
			"eventually":  eventually,
			"port":        port,
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// exits runs a command that must end with an exit code: "exits 2 allmend …".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [argument...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// capture runs a command and keeps what it prints: "capture NAME allmend …".
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: capture name command [argument...]")
	}
	ts.Check(ts.Exec(args[1], args[2:]...))
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// eventually runs a command until it succeeds, at most so many times and as
// fast as it can: "eventually 100 allmend …".
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually times command [argument...]")
	}
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range times {
		if err = ts.Exec(args[1], args[2:]...); err == nil {
			return
		}
	}
	ts.Check(err)
}

// port keeps the number of a TCP port of this machine that is free: "port NAME".
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port name")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// TestCommands checks what every command owes its reader: one line that says
// what it does, an example that its own flags accept, and the exit codes.
func TestCommands(t *testing.T) {
	c := &console{in: strings.NewReader(""), out: t.Output(), err: t.Output()}
	root := rootCommand(c)
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short description %q", path, cmd.Short)
		}
		if !strings.Contains(cmd.UsageTemplate(), exitCodes) {
			t.Errorf("%s: its help lacks the exit codes", path)
		}
		if !cmd.HasSubCommands() {
			first, _, _ := strings.Cut(strings.TrimSpace(cmd.Example), "\n")
			if first != path && !strings.HasPrefix(first, path+" ") {
				t.Errorf("%s: example %q", path, cmd.Example)
			}
			for _, word := range strings.Fields(first) {
				if flag, ok := strings.CutPrefix(word, "--"); ok && !cmd.DisableFlagParsing && cmd.Flag(flag) == nil {
					t.Errorf("%s: its example has --%s, which it does not know", path, flag)
				}
			}
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
}

func TestDefaults(t *testing.T) {
	config := defaultRunConfig()
	if config.Name == "" || config.Optimizer.Epsilon != "1e-8" || config.Model.RopeTheta != "10000" {
		t.Errorf("got %+v", config)
	}
}

// TestRunID pins the run ID that a configuration and shards lead to.
func TestRunID(t *testing.T) {
	config := defaultRunConfig()
	err := parseYAML([]byte(`name: golden
model: {vocab_size: 400, hidden_size: 16, num_attention_heads: 2}
optimizer: {learning_rate: 0.0010, epsilon: "1e-8"}
coordinators: [0xd41c057fd1c78805aac12b0a94a405c0461a6fbb]
`), &config)
	if err != nil {
		t.Fatal(err)
	}
	spec := config.spec(shards.Manifest{Tokenizer: digest.Of([]byte("tokenizer")), Tokens: 12801}, digest.Of([]byte("shards")))
	spec.InitialState = digest.Of([]byte("state"))
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	id, err := spec.ID()
	const want = "756a1549d6156dcb77ae0250ec61b1f895e831c44ec1ac29fdc41be4025ed97b"
	if err != nil || id.String() != want {
		t.Errorf("run %s, %v, want %s", id, err, want)
	}
}

func FuzzYAML(f *testing.F) {
	text, err := exampleConfig(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text))
	f.Add([]byte("name: a\nname: b\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var config runConfig
		if err := parseYAML(b, &config); err == nil {
			config.spec(shards.Manifest{}, digest.Sum{}).Validate()
		}
	})
}

// TestInterrupt checks that a cancelled context is told apart from a failure.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var said strings.Builder
	c := &console{err: &said}
	if code := c.code(ctx, ctx.Err()); code != exitFailed || !strings.Contains(said.String(), "interrupted") {
		t.Errorf("code %d, %q", code, said.String())
	}
}
