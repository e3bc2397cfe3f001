package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	var out strings.Builder
	h := newQuiet(slog.NewTextHandler(&out, nil))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	say := func(after time.Duration, h slog.Handler, args ...any) {
		r := slog.NewRecord(start.Add(after), slog.LevelWarn, "away", 0)
		r.Add(args...)
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	say(0, h, "peer", "a", "backoff time", time.Second)
	say(time.Second, h, "peer", "a", "backoff time", 2*time.Second) // the same
	say(time.Second, h, "peer", "b")
	say(2*time.Second, h.WithAttrs([]slog.Attr{slog.String("run", "r")}), "peer", "b")
	say(quietFor, h, "peer", "a")
	say(quietFor+time.Second, h, "peer", "a") // the same
	if got := strings.Count(out.String(), "away"); got != 4 {
		t.Errorf("%d lines, want 4:\n%s", got, out.String())
	}
}
