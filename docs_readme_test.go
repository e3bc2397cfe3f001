package allmend_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a shell that runs in its own process group, with the program on
// its path, in a folder of its own.
type script struct {
	t    *testing.T
	dir  string
	path string // of the folder that holds the program
}

func newScript(t *testing.T) *script {
	t.Helper()
	s := &script{t: t, dir: t.TempDir(), path: t.TempDir()}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.path, "./cmd/allmend")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// run runs text and returns what it printed. Whatever it started in the
// background has ended when run returns.
func (s *script) run(limit time.Duration, text string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", text)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PATH="+s.path+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		s.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// freePort returns a port of this machine that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// onLoopback moves the machines of a text to this one.
func onLoopback(t *testing.T, text string) string {
	text = strings.NewReplacer("192.0.2.1", "127.0.0.1", "0.0.0.0", "127.0.0.1").Replace(text)
	ports := map[string]string{}
	return regexp.MustCompile(`/tcp/\d+`).ReplaceAllStringFunc(text, func(p string) string {
		if ports[p] == "" {
			ports[p] = "/tcp/" + freePort(t)
		}
		return ports[p]
	})
}

// TestReadmeTwoMachines runs the README's walk, each machine in a folder of its
// own, as separate processes on loopback. The editor makes the run short.
func TestReadmeTwoMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains for half a minute")
	}
	s := newScript(t)
	docs, err := filepath.Abs("docs")
	if err != nil {
		t.Fatal(err)
	}
	editor := "sed -i 's/^rounds: 40 /rounds: 4 /; s/^checkpoint_every: 10 /checkpoint_every: 2 /; s/^min_members: 1 /min_members: 2 /' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(s.path, "edit"), []byte("#!/bin/sh\n"+editor), 0o755); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "EDITOR=edit started=\ntrap 'kill $started 2> /dev/null; wait' EXIT\nmkdir A B C\nln -s %q A/docs\n", docs)
	blocks := regexp.MustCompile("(?ms)^```sh machine (.)\n(.*?)^```$").FindAllStringSubmatch(page(t, "README.md"), -1)
	if len(blocks) < 5 {
		t.Fatalf("the README has %d blocks for machines", len(blocks))
	}
	for i, b := range blocks {
		if i > 0 {
			fmt.Fprintln(&text, "cd ..")
		}
		// A person takes longer to type the next line than a process to begin.
		begun := " & started=\"$started $!\"; until allmend run status --run $run --peer $peer > status 2>&1; do sleep 0.2; done\n"
		fmt.Fprintf(&text, "cd %s\n%s", b[1], strings.ReplaceAll(b[2], " &\n", begun))
	}
	out := s.run(3*time.Minute, onLoopback(t, text.String()))
	t.Log(out)
	for _, want := range []string{"verified     replay", "NOT CHECKED"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q", want)
		}
	}
}

// TestReadmeDemo runs the README's first command with fewer rounds.
func TestReadmeDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes about a minute")
	}
	text := page(t, "README.md")
	if !strings.Contains(text, "    go run ./cmd/allmend demo ") || !strings.Contains(text, "    go test ./...\n") {
		t.Error("the README lacks its two commands")
	}
	out := newScript(t).run(5*time.Minute, "allmend demo --rounds 12")
	printed := map[string]bool{}
	for line := range strings.Lines(out) {
		printed[beginning(line)] = true
	}
	for line := range strings.Lines(fences(text, "")[0]) {
		if line := strings.TrimSpace(line); line != "…" && !printed[beginning(line)] {
			t.Errorf("no line begins as the README's %q\n%s", line, out)
		}
	}
}

// beginning is a line's first two words, those with a digit as "#".
func beginning(line string) string {
	words := strings.Fields(regexp.MustCompile(`\S*\d\S*`).ReplaceAllString(line, "#"))
	return strings.Join(words[:min(2, len(words))], " ")
}
