package coordinator

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands what raft and its log store say to a slog.Logger.
type raftLogger struct {
	hclog.Logger // answers what is not below; says nothing
	to           *slog.Logger
}

func newRaftLogger(to *slog.Logger) hclog.Logger {
	return &raftLogger{hclog.NewNullLogger(), to}
}

// levelOf lowers raft's levels by one step: its INFO is our DEBUG.
func levelOf(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	l.to.Log(context.Background(), levelOf(level), msg, args...)
}

func (l *raftLogger) Trace(string, ...any)           {}
func (l *raftLogger) Debug(msg string, args ...any)  { l.Log(hclog.Debug, msg, args...) }
func (l *raftLogger) Info(msg string, args ...any)   { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)   { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any)  { l.Log(hclog.Error, msg, args...) }
func (l *raftLogger) Named(string) hclog.Logger      { return l }
func (l *raftLogger) ResetNamed(string) hclog.Logger { return l }

func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{l.Logger, l.to.With(args...)}
}

func (l *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelDebug)
}

func (l *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelDebug).Writer()
}
