package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/allmend-network/allmend/verify"
)

// report prints what was found and keeps the exit code. It serves one
// goroutine.
type report struct {
	out, err  io.Writer
	program   string // stands before errors
	json      bool
	code      int
	verified  int      // checks that held
	unchecked []string // said at the end
}

// line is one line of the report: an object of --json.
type line struct {
	Check  string         `json:"check"`
	Result string         `json:"result"` // "verified", "failed", "missing", "error", "note", "not checked", "end"
	Detail string         `json:"detail"`
	Facts  map[string]any `json:"facts,omitempty"`
}

func (r *report) print(l line) {
	if r.json {
		// A value of this package's own always encodes; a closed pipe is the
		// reader's wish.
		_ = json.NewEncoder(r.out).Encode(l)
		return
	}
	word := l.Result
	if word == "failed" {
		word = "FAILED"
	}
	fmt.Fprintf(r.out, "%-11s  %-10s  %s\n", word, l.Check, printable(l.Detail))
}

// held says that a check held, what it covered, and the facts for machines.
func (r *report) held(check string, facts map[string]any, format string, args ...any) {
	r.verified++
	r.print(line{check, "verified", fmt.Sprintf(format, args...), facts})
}

// note says what an auditor should know but need not act on.
func (r *report) note(check, text string) { r.print(line{Check: check, Result: "note", Detail: text}) }

// notChecked remembers what the end of the report names.
func (r *report) notChecked(what string) { r.unchecked = append(r.unchecked, what) }

// wrong says that a check failed or could not be made, and what to do next. A
// failure outweighs anything missing.
func (r *report) wrong(check string, err error) {
	result, next := "error", "run it again when that is repaired"
	var failure *verify.Failure
	var missing *verify.Missing
	switch {
	case errors.As(err, &failure):
		r.code = Failed
		result, next = "failed", "do not use it; keep it as evidence, fetch it again from another member and compare"
	case errors.As(err, &missing):
		result, next = "missing", "nothing was found wrong, but this could not be checked"
	case errors.Is(err, context.Canceled):
		next = "interrupted; run it again"
	}
	if r.code == Verified {
		r.code = CouldNotSay
	}
	r.print(line{Check: check, Result: result, Detail: err.Error()})
	fmt.Fprintf(r.err, "%s: %s: %s\n  (%s)\n", r.program, check, printable(err.Error()), next)
}

// finish names what was not checked, and sums up.
func (r *report) finish() {
	for _, what := range r.unchecked {
		if r.json {
			r.print(line{Check: "", Result: "not checked", Detail: what})
		}
	}
	if !r.json && len(r.unchecked) > 0 {
		fmt.Fprintln(r.out, "NOT CHECKED")
		for _, what := range r.unchecked {
			fmt.Fprintln(r.out, "  - "+printable(what))
		}
	}
	summary := map[int]string{
		Verified:    fmt.Sprintf("verified: %d checks held, and nothing beyond them is claimed", r.verified),
		Failed:      "verification FAILED",
		CouldNotSay: "could not check everything that was asked for",
	}[r.code]
	if r.json {
		r.print(line{Check: "", Result: "end", Detail: summary, Facts: map[string]any{"exit": r.code}})
		return
	}
	fmt.Fprintln(r.out, summary)
}

// printable replaces what could steer a terminal, since text from files that
// are not trusted is shown.
func printable(text string) string {
	if !strings.ContainsFunc(text, unprintable) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unprintable(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
