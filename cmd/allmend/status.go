package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// statusResult is what a run is doing.
type statusResult struct {
	Run          run.ID             `json:"run"`
	Name         string             `json:"name"`
	Status       state.Status       `json:"status"`
	Reason       string             `json:"reason"`
	Phase        state.Phase        `json:"phase"`
	Round        uint64             `json:"round"`
	Attempt      uint64             `json:"attempt"`
	Step         uint64             `json:"step"`
	Rounds       int                `json:"rounds"`
	Awaited      []identity.Address `json:"awaited"`
	Roster       []identity.Address `json:"roster"`
	Contributors []identity.Address `json:"contributors"` // of the last ring, in its order
	Members      []memberResult     `json:"members"`
	Coordinators []identity.Address `json:"coordinators"`
	Auditors     []identity.Address `json:"auditors"`
	Pending      int                `json:"pending"`    // statements with fewer signatures than they need
	Checkpoint   uint64             `json:"checkpoint"` // round of the last signed one
	State        digest.Sum         `json:"state"`      // root that the last signed checkpoint names
	LogSize      uint64             `json:"log_size"`
	LogRoot      digest.Sum         `json:"log_root"`
	Leader       identity.Address   `json:"leader"` // zero if nobody is known to lead
	Term         uint64             `json:"term"`   // 0 if not asked of a coordinator
	Last         lastResult         `json:"last"`
}

// lastResult is the last closed round.
type lastResult struct {
	Round   uint64  `json:"round"`
	Step    uint64  `json:"step"`
	Loss    float64 `json:"loss"` // mean over its tokens, in nats
	Targets uint64  `json:"targets"`
}

// memberResult is what the run says of one member.
type memberResult struct {
	Address identity.Address `json:"address"`
	Expired string           `json:"expired"` // why; "" if it is not
	Barred  bool             `json:"barred"`
	// Progress is what it reported last; the leading coordinator knows.
	Progress *coordinator.Progress `json:"progress,omitempty"`
}

func describeView(spec run.Spec, v state.View) statusResult {
	r := statusResult{
		Run: v.Run, Name: spec.Name, Status: v.Status, Reason: v.Reason, Phase: v.Phase,
		Round: v.Round, Attempt: v.Attempt, Step: v.Step, Rounds: spec.Rounds,
		Awaited: list(v.Awaited), Roster: list(v.Roster), Contributors: list(v.Contributors),
		Members: []memberResult{}, Coordinators: list(v.Coordinators), Auditors: list(v.Auditors),
		Pending: len(v.Pending), LogSize: v.LogSize, LogRoot: v.LogRoot,
	}
	for _, m := range v.Members {
		r.Members = append(r.Members, memberResult{Address: m.Address, Expired: m.Expired, Barred: m.Barred})
	}
	if n := len(v.Signed); n > 0 {
		r.Checkpoint, r.State = v.Signed[n-1].Round, v.Signed[n-1].State
	}
	return r
}

func list(a []identity.Address) []identity.Address { return append([]identity.Address{}, a...) }

func (r statusResult) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run           %s (%s)\nstatus        %s", r.Run, r.Name, r.Status)
	if r.Reason != "" {
		fmt.Fprintf(&b, ": %s", r.Reason)
	}
	fmt.Fprintf(&b, "\nround         %d, %s; %d of %d steps are done", r.Round, r.Phase, r.Step, r.Rounds)
	if r.Last.Round > 0 {
		fmt.Fprintf(&b, "\nlast          round %d: loss %.4f over %d tokens", r.Last.Round, r.Last.Loss, r.Last.Targets)
	}
	if len(r.Awaited) > 0 {
		fmt.Fprintf(&b, "\nwaiting for   %s", shorts(r.Awaited))
	}
	fmt.Fprintf(&b, "\ncheckpoint    of round %d, state %s\nlog           %d records, root %s\ncoordinators  %s", r.Checkpoint, r.State.Short(), r.LogSize, r.LogRoot.Short(), shorts(r.Coordinators))
	if !r.Leader.IsZero() {
		fmt.Fprintf(&b, "; %s leads", r.Leader.Short())
	}
	if r.Pending > 0 {
		fmt.Fprintf(&b, "\npending       %d statements that need more signatures", r.Pending)
	}
	for _, m := range r.Members {
		fmt.Fprintf(&b, "\nmember        %s %s", m.Address, m.text())
	}
	return b.String()
}

func (m memberResult) text() string {
	switch {
	case m.Barred:
		return "barred: it said two different things"
	case m.Expired != "":
		return "out: " + m.Expired
	}
	return "in"
}

// serveStatus serves /status and /metrics on a loopback address until ctx
// ends. It returns the address it listens on. The server's goroutines end with
// ctx; done is closed then.
func serveStatus(ctx context.Context, at string, logger *slog.Logger, current func() statusResult) (where string, done <-chan struct{}, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at)
	if err != nil {
		return "", nil, fmt.Errorf("status: %w; choose another with --status", err)
	}
	if a, ok := listener.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return "", nil, errors.Join(usagef("--status %s: want an address of this machine only, such as 127.0.0.1:7001", at), listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(current())
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector(current))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("status is no longer served", "error", err)
		}
	}()
	context.AfterFunc(ctx, func() { server.Close() })
	return listener.Addr().String(), ended, nil
}

// collector turns a status into Prometheus metrics when they are asked for.
type collector func() statusResult

var (
	metricRound      = prometheus.NewDesc("allmend_round", "Round under way, or gathered for.", nil, nil)
	metricStep       = prometheus.NewDesc("allmend_step", "Closed rounds that are not void.", nil, nil)
	metricAttempt    = prometheus.NewDesc("allmend_attempt", "Ring of the round, 0 before the first.", nil, nil)
	metricMembers    = prometheus.NewDesc("allmend_members", "Members by standing.", []string{"standing"}, nil)
	metricLog        = prometheus.NewDesc("allmend_log_records", "Records in the run's log.", nil, nil)
	metricLoss       = prometheus.NewDesc("allmend_loss", "Mean loss of the last closed round, in nats a token.", nil, nil)
	metricCheckpoint = prometheus.NewDesc("allmend_checkpoint_round", "Round of the last signed checkpoint.", nil, nil)
	metricStatus     = prometheus.NewDesc("allmend_status", "1 for what the run is doing.", []string{"status"}, nil)
	metricTerm       = prometheus.NewDesc("allmend_raft_term", "Raft's term.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements [prometheus.Collector].
func (c collector) Collect(out chan<- prometheus.Metric) {
	r := c()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	in, away, barred := 0, 0, 0
	for _, m := range r.Members {
		switch {
		case m.Barred:
			barred++
		case m.Expired != "":
			away++
		default:
			in++
		}
	}
	gauge(metricRound, float64(r.Round))
	gauge(metricStep, float64(r.Step))
	gauge(metricAttempt, float64(r.Attempt))
	gauge(metricMembers, float64(in), "in")
	gauge(metricMembers, float64(away), "out")
	gauge(metricMembers, float64(barred), "barred")
	gauge(metricLog, float64(r.LogSize))
	gauge(metricCheckpoint, float64(r.Checkpoint))
	gauge(metricLoss, r.Last.Loss)
	gauge(metricTerm, float64(r.Term))
	for _, s := range []state.Status{state.Waiting, state.Running, state.Paused, state.Halted, state.Finished} {
		v := 0.0
		if s == r.Status {
			v = 1
		}
		gauge(metricStatus, v, string(s))
	}
}
