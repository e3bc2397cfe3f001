package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testBinary returns allmend, built, or skips the test.
func testBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the binary and starts processes")
	}
	path, err := self()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// told is one line of the demo's JSON.
type told struct {
	Event string          `json:"event"`
	Value json.RawMessage `json:"value"`
}

// TestDemo gives a small demonstration with every fault.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	opt := Defaults()
	opt.Self, opt.Dir, opt.Rounds, opt.JSON = testBinary(t), filepath.Join(t.TempDir(), "demo"), minRounds, true
	opt.Stdout, opt.Stderr = &out, t.Output()
	if err := Run(t.Context(), opt); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	var end report
	for line := range bytes.Lines(out.Bytes()) {
		var e told
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Event == "report" {
			if err := json.Unmarshal(e.Value, &end); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !end.OK || end.Rounds != minRounds || end.Members != 4 || len(end.Faults) != 3 || len(end.Verified) < 8 || end.Forgeries < 40 || end.Text == "" {
		t.Errorf("report: %+v", end)
	}
	for _, f := range end.Faults {
		if f.What != "joined late" && (f.Phase == "" || f.Recovery <= 0) || f.Back <= 0 {
			t.Errorf("fault: %+v", f)
		}
	}
	opt.Stdout = io.Discard
	if err := Run(t.Context(), opt); !errors.As(err, new(*UsageError)) {
		t.Errorf("a second demo in the same folder: %v, want a refusal", err)
	}
}

// begin starts a demo as a process of its own and returns when a round is
// closed, with its processes.
func begin(t *testing.T, dir string) (cmd *exec.Cmd, rest *bufio.Scanner, said *bytes.Buffer, running []started) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), testBinary(t), "demo", "--json", "--dir", dir, "--rounds", "200")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said = new(bytes.Buffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rest = bufio.NewScanner(out)
	for rest.Scan() {
		var e told
		if err := json.Unmarshal(rest.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", rest.Bytes(), err)
		}
		switch e.Event {
		case "process":
			var p started
			if err := json.Unmarshal(e.Value, &p); err != nil {
				t.Fatal(err)
			}
			running = append(running, p)
		case "round":
			return cmd, rest, said, running
		}
	}
	t.Fatalf("the demo ended before a round was closed: %v\n%s", cmd.Wait(), said)
	return nil, nil, nil, nil
}

// gone fails the test if anybody still listens after a while.
func gone(t *testing.T, running []started) {
	t.Helper()
	if len(running) != 6 {
		t.Errorf("%d processes were told of, want 6", len(running))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for _, p := range running {
		part := strings.Split(p.At, "/") // /ip4/127.0.0.1/tcp/PORT/p2p/ID
		for {
			c, err := net.Dial("tcp", net.JoinHostPort(part[2], part[4]))
			if errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
			if err == nil {
				c.Close()
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				t.Fatalf("%s still listens", p.Name)
			}
		}
	}
}

// TestInterrupt checks that Ctrl-C ends every process before the demo ends.
func TestInterrupt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	cmd, rest, said, running := begin(t, dir)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for rest.Scan() { // until it ends
	}
	err := cmd.Wait()
	var code *exec.ExitError
	if !errors.As(err, &code) || code.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit code 1", err)
	}
	if !strings.Contains(said.String(), "Every process of the demo has ended. What they made is in "+dir) {
		t.Errorf("it said: %s", said)
	}
	gone(t, running)
}

// TestSupervisorKilled checks that the processes of a demo that was killed
// without a chance to do anything end by themselves, even one that is frozen.
func TestSupervisorKilled(t *testing.T) {
	cmd, _, _, running := begin(t, filepath.Join(t.TempDir(), "demo"))
	if err := syscall.Kill(running[len(running)-1].Process, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("it ended with %v", err)
	}
	gone(t, running)
}
