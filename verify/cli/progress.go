package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows long work on standard error: a bar on a terminal, else a line
// for each quarter. It serves one goroutine.
type progress struct {
	r       *report
	what    string
	done    int64
	total   int64
	quarter int64
	bar     *progressbar.ProgressBar // nil if standard error is no terminal
}

// quick is how many bytes are read so fast that nobody asks how far it is.
const quick = 64 << 20

// progress returns a display of total steps, -1 if unknown.
func (r *report) progress(what string, total int64, bytes bool) *progress {
	p := &progress{r: r, what: what, total: total}
	if bytes && total >= 0 && total < quick {
		p.total = 0
		return p
	}
	if f, ok := r.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
			progressbar.OptionShowBytes(bytes), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth())
	}
	return p
}

// set says how many steps are done.
func (p *progress) set(done int64) {
	p.done = done
	if p.bar != nil {
		_ = p.bar.Set64(done) // a bar that cannot be drawn is no reason to stop
		return
	}
	if p.total > 0 && done*4/p.total > p.quarter && done < p.total {
		p.quarter = done * 4 / p.total
		fmt.Fprintf(p.r.err, "%s: %d of %d\n", p.what, done, p.total)
	}
}

// add counts n more steps.
func (p *progress) add(n int64) { p.set(p.done + n) }

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // as in set
	}
}
