package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Supervised is the environment variable that tells a process of this binary
// to end when its standard input does.
const Supervised = "ALLMEND_SUPERVISED"

const (
	graceful   = 15 * time.Second // what a process gets to end by itself
	maxOutput  = 4 << 20          // bytes kept of a tool's standard output
	maxMessage = 4 << 10          // bytes kept of what it said last on standard error
)

// supervisor starts processes of this binary and ends them all.
type supervisor struct {
	self string // path of this binary
	logs string // folder of a log for each name
	env  []string

	mu   sync.Mutex // guards the rest
	all  []*process
	peak int64 // bytes; the largest sum of peaks of processes alive at once
}

// process is one child: this binary under another command.
type process struct {
	name   string
	args   []string
	cmd    *exec.Cmd
	hold   *os.File // its standard input is the other end
	frozen bool
	done   chan struct{} // closed when it has ended and err is set
	err    error
}

// failure is how a tool ended that did not succeed.
type failure struct {
	name    string
	code    int    // exit code; -1 after a signal
	message string // the end of its standard error
	output  []byte // its standard output
}

func (f *failure) Error() string {
	return fmt.Sprintf("allmend %s: exit code %d: %s", f.name, f.code, strings.TrimPrefix(f.message, "allmend: "))
}

func newSupervisor(self, logs string) (*supervisor, error) {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	return &supervisor{self: self, logs: logs, env: append(os.Environ(), Supervised+"=1")}, nil
}

// command prepares a process. In a group of its own it does not get the Ctrl-C
// that is meant for the supervisor, which ends it in its own time; and should
// the supervisor die while it is frozen, the kernel wakes it with SIGHUP.
func (s *supervisor) command(args []string) (*exec.Cmd, *os.File, error) {
	read, hold, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(s.self, args...)
	cmd.Stdin, cmd.Env = read, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, hold, nil
}

// begin starts a prepared process and watches it.
func (s *supervisor) begin(name string, cmd *exec.Cmd, hold *os.File) (*process, error) {
	err := cmd.Start()
	cmd.Stdin.(*os.File).Close() // the child has it now
	if err != nil {
		hold.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, args: cmd.Args[1:], cmd: cmd, hold: hold, done: make(chan struct{})}
	s.mu.Lock()
	s.all = append(s.all, p)
	s.mu.Unlock()
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// start starts a process that goes on by itself; both its outputs go to its log.
func (s *supervisor) start(name string, args ...string) (*process, error) {
	log, err := os.OpenFile(s.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has it
	fmt.Fprintf(log, "--- allmend %s\n", strings.Join(args, " "))
	cmd, hold, err := s.command(args)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	return s.begin(name, cmd, hold)
}

func (s *supervisor) log(name string) string { return filepath.Join(s.logs, name+".log") }

// tool runs a command to its end and returns its standard output. One that
// does not exit with 0 is a *failure.
func (s *supervisor) tool(ctx context.Context, args ...string) ([]byte, error) {
	name := strings.Join(args[:min(2, len(args))], " ")
	cmd, hold, err := s.command(args)
	if err != nil {
		return nil, err
	}
	out, said := &capped{limit: maxOutput}, &capped{limit: maxMessage, last: true}
	cmd.Stdout, cmd.Stderr = out, said
	p, err := s.begin(name, cmd, hold)
	if err != nil {
		return nil, err
	}
	defer p.hold.Close()
	sample := time.NewTicker(100 * time.Millisecond)
	defer sample.Stop()
	for {
		select {
		case <-p.done:
			s.forget(p)
			if p.err == nil {
				return out.bytes(), nil
			}
			return nil, &failure{name, cmd.ProcessState.ExitCode(), strings.TrimSpace(string(said.bytes())), out.bytes()}
		case <-sample.C:
			s.weigh()
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		}
	}
}

// forget drops a process that has ended.
func (s *supervisor) forget(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(x *process) bool { return x == p })
}

// alive reports whether the process has not ended.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// freeze stops the process where it stands; its connections stay open.
func (p *process) freeze() error {
	p.frozen = true
	return p.signal(syscall.SIGSTOP)
}

// thaw lets a frozen process go on.
func (p *process) thaw() error {
	p.frozen = false
	return p.signal(syscall.SIGCONT)
}

// kill ends the process as kill -9 does, and waits until it is gone.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	<-p.done
	return errors.Join(err, p.hold.Close())
}

func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%s (process %d): %w", p.name, p.cmd.Process.Pid, err)
	}
	return nil
}

// stop asks the process to end, and kills it if it does not.
func (p *process) stop() {
	p.ask()
	p.await(time.Now().Add(graceful))
}

// ask closes the pipe, the same way the supervisor's own death would.
func (p *process) ask() {
	p.hold.Close() // closed twice at worst
	if p.frozen && p.alive() {
		p.thaw() // it may have ended meanwhile
	}
}

func (p *process) await(deadline time.Time) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.cmd.Process.Kill() // it may have ended meanwhile
		<-p.done
	}
}

// stopAll ends every process, the ones started last first.
func (s *supervisor) stopAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Backward(s.all) {
		p.ask()
	}
	deadline := time.Now().Add(graceful)
	for _, p := range s.all {
		p.await(deadline)
	}
	s.all = nil
}

// lastWords returns the end of a process' log.
func (s *supervisor) lastWords(name string) string {
	f, err := os.Open(s.log(name))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxMessage {
		f.Seek(-maxMessage, io.SeekEnd) // reading from the start instead is no harm
	}
	tail, err := io.ReadAll(io.LimitReader(f, maxMessage))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(tail)), "\n")
	return lines[len(lines)-1]
}

// capped keeps the first or the last bytes written to it.
type capped struct {
	limit int
	last  bool
	mu    sync.Mutex // guards buf
	buf   []byte
}

func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf, p...)
	if over := len(c.buf) - c.limit; over > 0 && c.last {
		c.buf = append([]byte(nil), c.buf[over:]...)
	} else if over > 0 {
		c.buf = c.buf[:c.limit]
	}
	return len(p), nil
}

func (c *capped) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.buf)
}
