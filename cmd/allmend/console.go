package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// console is where a command reads and writes. Results go to standard output,
// everything said along the way to standard error.
type console struct {
	in       io.Reader
	out, err io.Writer
	json     bool // results as JSON, one object per line
}

// result prints what a command has to give: v as JSON, or text for people.
func (c *console) result(v any, text string) error {
	if c.json {
		return json.NewEncoder(c.out).Encode(v)
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}

// note says something to people along the way.
func (c *console) note(format string, args ...any) { fmt.Fprintf(c.err, format+"\n", args...) }

// terminal returns the file behind w if it is a terminal.
func terminal(w any) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// progress shows long work: a bar on a terminal, a line for each tenth
// elsewhere. It is used by one goroutine.
type progress struct {
	c     *console
	what  string
	total int64
	done  int64
	tenth int64
	bar   *progressbar.ProgressBar // nil if standard error is no terminal
}

// progress returns a display of total steps, or of any number if total < 0.
func (c *console) progress(what string, total int64, bytes bool) *progress {
	p := &progress{c: c, what: what, total: total}
	if f, ok := terminal(c.err); ok {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
			progressbar.OptionShowBytes(bytes), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth())
	}
	return p
}

// add counts n more steps.
func (p *progress) add(n int64) {
	p.done += n
	if p.bar != nil {
		p.bar.Add64(n) // a bar that cannot be drawn is no reason to stop
		return
	}
	if p.total > 0 && p.done*10/p.total > p.tenth {
		p.tenth = p.done * 10 / p.total
		p.c.note("%s: %d of %d", p.what, p.done, p.total)
	}
}

// end takes the bar away, or says how many steps there were.
func (p *progress) end() {
	switch {
	case p.bar != nil:
		p.bar.Finish()
	case p.total < 0:
		p.c.note("%s: %d", p.what, p.done)
	}
}

var errNoTerminal = errors.New("standard input is no terminal")

// password asks for a secret on the terminal, without echo.
func (c *console) password(ctx context.Context, prompt string) ([]byte, error) {
	f, ok := terminal(c.in)
	if !ok {
		return nil, errNoTerminal
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprint(c.err, prompt)
	// This goroutine outlives a cancelled prompt: a terminal's read cannot be
	// interrupted. The process ends then.
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		fmt.Fprintln(c.err)
		return a.text, a.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(int(f.Fd()), before))
	}
}
