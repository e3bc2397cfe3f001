package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/allmend-network/allmend/verify/forge"
	"golang.org/x/term"
)

// Options say what to show, and where.
type Options struct {
	Dir          string   // to work in, and kept; "": a fresh temporary folder
	Inputs       []string // files and folders to build shards of; none: a generated web
	Nodes        int      // from the start; a further one joins late
	Coordinators int      // 1, 3 or 5
	Rounds       int      // closed rounds until the run is finished
	Faults       bool     // kill processes on the way
	Keep         bool     // keep the temporary folder
	JSON         bool     // events as JSON, one object per line of Stdout

	Stdout, Stderr io.Writer
	Self           string // path of the binary to run
}

// Defaults returns the demo that runs without any flag.
func Defaults() Options {
	return Options{Nodes: 3, Coordinators: 3, Rounds: defaultRounds, Faults: true}
}

// UsageError is a demo that was asked for in a way it cannot be given.
type UsageError struct{ Reason string }

// Error implements error.
func (e *UsageError) Error() string { return e.Reason }

// FailedError says that the demo came to its end and a check did not hold.
type FailedError struct{ Checks []string }

// Error implements error.
func (e *FailedError) Error() string {
	return fmt.Sprintf("%d checks did not hold: %v", len(e.Checks), e.Checks)
}

// demo is one demonstration under way.
type demo struct {
	Options
	*story
	*supervisor
	dir    string
	began  time.Time
	built  built
	report report
}

// Run gives the demonstration. Whatever happens, no process is left when it
// returns. The error is a [*UsageError] before anything was done, a
// [*FailedError] if a check did not hold, that of ctx if it was cancelled, or
// says what went wrong.
func Run(ctx context.Context, opt Options) error {
	d := &demo{Options: opt, began: time.Now(), story: newStory(opt)}
	if err := d.valid(); err != nil {
		return err
	}
	if err := d.enter(); err != nil {
		return err
	}
	var err error
	if d.supervisor, err = newSupervisor(opt.Self, d.path("logs")); err != nil {
		return err
	}
	err = d.perform(ctx)
	d.clear()
	d.stopAll()
	return d.leave(ctx, err)
}

func newStory(opt Options) *story {
	s := &story{out: opt.Stdout, err: opt.Stderr, json: opt.JSON}
	if f, ok := opt.Stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.live = true
		s.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil {
				return w
			}
			return 80
		}
	}
	return s
}

func (d *demo) valid() error {
	switch {
	case d.Nodes < 2 || d.Nodes > 6:
		return &UsageError{fmt.Sprintf("--nodes %d: want 2 to 6", d.Nodes)}
	case d.Coordinators != 1 && d.Coordinators != 3 && d.Coordinators != 5:
		return &UsageError{fmt.Sprintf("--coordinators %d: want 1, 3 or 5", d.Coordinators)}
	case d.Rounds < minRounds || d.Rounds > maxRounds:
		return &UsageError{fmt.Sprintf("--rounds %d: want %d to %d", d.Rounds, minRounds, maxRounds)}
	}
	for _, in := range d.Inputs {
		if _, err := os.Stat(in); err != nil {
			return &UsageError{fmt.Sprintf("--input %s: %v", in, err)}
		}
	}
	return nil
}

// enter makes the folder to work in. One that holds something is refused:
// nothing of an earlier demo is overwritten.
func (d *demo) enter() error {
	var err error
	if d.Dir == "" {
		d.dir, err = os.MkdirTemp("", "allmend-demo-")
		return err
	}
	if d.dir, err = filepath.Abs(d.Dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(d.dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	if len(entries) > 0 {
		return &UsageError{fmt.Sprintf("--dir %s is not empty: a demo never works in a folder that another left; choose a new folder, or remove this one with rm -r %s", d.dir, d.dir)}
	}
	return nil
}

func (d *demo) path(name ...string) string { return filepath.Join(append([]string{d.dir}, name...)...) }

// kept reports whether the folder outlives the demo.
func (d *demo) kept() bool { return d.Keep || d.Dir != "" }

// leave says how it ended, and removes the folder unless it is to be kept or
// can show what went wrong.
func (d *demo) leave(ctx context.Context, err error) error {
	if d.kept() || err != nil && ctx.Err() == nil {
		if err != nil {
			fmt.Fprintf(d.err, "Every process of the demo has ended. What they made is in %s, what they said in %s.\n", d.dir, d.path("logs"))
		}
		return err
	}
	removed := os.RemoveAll(d.dir)
	if err != nil {
		fmt.Fprintf(d.err, "Every process of the demo has ended, and nothing is left on disk: %s is removed. With --keep or --dir it stays.\n", d.dir)
	}
	return errors.Join(err, removed)
}

// check notes whether something held.
func (d *demo) check(name string, ok bool, format string, args ...any) {
	d.report.Checks = append(d.report.Checks, check{name, ok, fmt.Sprintf(format, args...)})
}

// perform gives the parts of the demonstration, one after the other.
func (d *demo) perform(ctx context.Context) error {
	d.say("everything happens on this machine, in %s", d.dir)
	d.chapter("1  Data: texts become shards")
	if err := d.data(ctx); err != nil {
		return err
	}
	d.chapter("2  Tokenizer: learnt from what was kept")
	if err := d.tokenizer(ctx); err != nil {
		return err
	}
	d.chapter(fmt.Sprintf("3  Swarm: %d coordinators and %d nodes, each a process with its own key and disk", d.Coordinators, d.Nodes))
	s, err := d.raise(ctx)
	if err != nil {
		return err
	}
	s.introduce()
	d.chapter("4  Training, and what goes wrong on the way")
	if _, err := s.train(ctx); err != nil {
		return err
	}
	d.chapter("5  The end of the run, and its evidence")
	if err := s.finish(ctx); err != nil {
		return err
	}
	d.chapter("6  Checkpoint: a folder that Hugging Face transformers opens as it stands")
	if err := s.checkpoint(ctx); err != nil {
		return err
	}
	d.chapter("7  A stranger, who has the run ID and the folders, verifies")
	if err := d.inspect(ctx, d.path("evidence"), d.path("shards")); err != nil {
		return err
	}
	d.say("and now the same of copies, each damaged or forged in one way:")
	if err := d.forgeries(ctx, d.path("evidence"), d.path("shards"), forge.Cases()); err != nil {
		return err
	}
	d.chapter("8  The end")
	return d.end()
}
