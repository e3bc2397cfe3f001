package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	quietFor = 30 * time.Second // after a line, those that say the same are left out
	maxQuiet = 1024             // lines remembered
)

// quiet is a log handler that says a thing once in a while, not each time it is
// tried again: what a peer that is away makes a process say would otherwise
// hide all else.
type quiet struct {
	slog.Handler
	more string // attributes of With, rendered
	seen *seen
}

// seen is shared by a handler and those derived from it.
type seen struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; when a line was written
}

func newQuiet(h slog.Handler) quiet {
	return quiet{Handler: h, seen: &seen{last: map[string]time.Time{}}}
}

// Handle implements [slog.Handler].
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if q.seen.lately(q.more+line(r), r.Time) {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := q.more
	for _, a := range attrs {
		more += a.String() + " "
	}
	return quiet{q.Handler.WithAttrs(attrs), more, q.seen}
}

// WithGroup implements [slog.Handler].
func (q quiet) WithGroup(name string) slog.Handler {
	return quiet{q.Handler.WithGroup(name), q.more + name + ".", q.seen}
}

// line renders what a record says, without how long a try waits for the next.
func line(r slog.Record) string {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if !strings.Contains(a.Key, "backoff") {
			b.WriteString(" " + a.String())
		}
		return true
	})
	return b.String()
}

// lately reports whether a line was written less than quietFor before now, and
// otherwise remembers that it is written now.
func (s *seen) lately(line string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.last[line]; ok && now.Sub(at) < quietFor {
		return true
	}
	if len(s.last) >= maxQuiet {
		clear(s.last)
	}
	s.last[line] = now
	return false
}
