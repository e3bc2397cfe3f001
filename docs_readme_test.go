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

// TestReadme builds the program once and does what the README says.
func TestReadme(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/allmend")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, test := range map[string]func(*script){"commands": commandsExist, "machines": twoMachines, "demo": demo} {
		t.Run(name, func(t *testing.T) { test(&script{t, t.TempDir(), bin}) })
	}
}

// script is a shell that runs in its own process group, with the program on
// its path, in a folder of its own.
type script struct {
	*testing.T
	dir string
	bin string // folder that holds the program
}

// run runs text and returns what it printed. Whatever it started in the
// background has ended when run returns.
func (s *script) run(limit time.Duration, text string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", text)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PATH="+s.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		s.Fatalf("%v\n%s", err, out)
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

// twoMachines runs the README's walk, each machine in a folder of its own, as
// separate processes on loopback. The editor makes the run short.
func twoMachines(s *script) {
	if testing.Short() {
		s.Skip("it trains for half a minute")
	}
	docs, err := filepath.Abs("docs")
	if err != nil {
		s.Fatal(err)
	}
	editor := "sed -i 's/^rounds: [0-9]*/rounds: 4/; s/^checkpoint_every: [0-9]*/checkpoint_every: 2/; s/^min_members: [0-9]*/min_members: 2/' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(s.bin, "edit"), []byte("#!/bin/sh\n"+editor), 0o755); err != nil {
		s.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "EDITOR=edit started=\ntrap 'kill $started 2> /dev/null || true; wait' EXIT\nmkdir A B C\nln -s %q A/docs\n", docs)
	blocks := regexp.MustCompile("(?ms)^```sh machine (.)\n(.*?)^```$").FindAllStringSubmatch(page(s.T, "README.md"), -1)
	if len(blocks) < 5 {
		s.Fatalf("the README has %d blocks for machines", len(blocks))
	}
	for i, b := range blocks {
		if i > 0 {
			fmt.Fprintln(&text, "cd ..")
		}
		// A person takes longer to type the next line than a process to begin.
		begun := " & started=\"$started $!\"; until allmend run status --run $run --peer $peer > status 2>&1; do sleep 0.2; done\n"
		fmt.Fprintf(&text, "cd %s\n%s", b[1], strings.ReplaceAll(b[2], " &\n", begun))
	}
	out := s.run(3*time.Minute, onLoopback(s.T, text.String()))
	s.Log(out)
	for _, want := range []string{"verified     replay", "NOT CHECKED"} {
		if !strings.Contains(out, want) {
			s.Errorf("nothing says %q", want)
		}
	}
}

// demo runs the README's first command with fewer rounds, and compares what it
// prints with what the README says it does.
func demo(s *script) {
	if testing.Short() {
		s.Skip("it takes about a minute")
	}
	text := page(s.T, "README.md")
	if !strings.Contains(text, "    go run ./cmd/allmend demo ") || !strings.Contains(text, "    go test ./...\n") {
		s.Error("the README lacks its two commands")
	}
	out := s.run(5*time.Minute, "allmend demo --rounds 12")
	printed := map[string]bool{}
	for line := range strings.Lines(out) {
		printed[beginning(line)] = true
	}
	for line := range strings.Lines(fences(text, "")[0]) {
		if line := strings.TrimSpace(line); line != "…" && !printed[beginning(line)] {
			s.Errorf("no line begins as the README's %q\n%s", line, out)
		}
	}
}

// beginning is a line's first two words, those with a digit as "#".
func beginning(line string) string {
	words := strings.Fields(regexp.MustCompile(`\S*\d\S*`).ReplaceAllString(line, "#"))
	return strings.Join(words[:min(2, len(words))], " ")
}

// commandsExist checks that every command that the documents name exists
// and has the flags they give it.
func commandsExist(s *script) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		s.Fatal(err)
	}
	named := regexp.MustCompile("`allmend ([^`]+)`|(?m)^ *(?:[a-z]+=\\S*\\$\\()?allmend (.+)$")
	help := map[string]string{}
	for _, name := range append(pages, "README.md", "CHANGELOG.md") {
		if name == "docs/formats.md" {
			continue // `allmend key 1` and the like are bytes there
		}
		text := strings.ReplaceAll(page(s.T, name), "\\\n", " ")
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1] + m[2])
			n := 0
			for n < min(2, len(words)) && regexp.MustCompile(`^[a-z]+$`).MatchString(words[n]) {
				n++
			}
			command := strings.Join(words[:n], " ")
			if _, ok := help[command]; !ok {
				help[command] = s.run(time.Minute, "allmend "+command+" --help")
				if !regexp.MustCompile(`(?m)^  allmend ` + command + `( |$)`).MatchString(help[command]) {
					s.Errorf("%s: there is no command allmend %s", name, command)
				}
			}
			before, _, _ := strings.Cut(strings.Join(words, " "), " #")
			before, _, _ = strings.Cut(before, "$(")
			for _, flag := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(before, -1) {
				if !strings.Contains(help[command], flag+" ") {
					s.Errorf("%s: allmend %s has no flag %s", name, command, flag)
				}
			}
		}
	}
	if len(help) < 10 {
		s.Errorf("only %d commands found", len(help))
	}
}

// TestMetrics checks that every metric is documented.
func TestMetrics(t *testing.T) {
	text := page(t, "docs/operation.md")
	for _, s := range sources(t) {
		if s.test || s.pkg != "cmd/allmend" {
			continue
		}
		for _, m := range regexp.MustCompile(`"(allmend_[a-z_]+)"`).FindAllStringSubmatch(page(t, s.path), -1) {
			if !strings.Contains(text, m[1]) {
				t.Errorf("docs/operation.md does not name the metric %s", m[1])
			}
		}
	}
}
