package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/node"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/spf13/cobra"
)

func coordinatorCommand(c *console) *cobra.Command {
	var p *peerFlags
	var cfg node.CoordinatorConfig
	cmd := &cobra.Command{
		Use:   "coordinator",
		Short: "Keep a run's log together with the other coordinators",
		Long: `Keep a run's log together with the other coordinators, until the run is finished. A group of one is legal, and has no
fail-over. --accept says that you consent to be named by the run's Spec; no round opens before every coordinator has.
Every flag may stand in the file of --config, under its name.`,
		Example: "  allmend coordinator --run myrun --key c.key --data coordinator --accept",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			r, err := p.resolve(ctx, c)
			if err != nil {
				return err
			}
			if cfg.Heartbeat <= 0 {
				return usagef("--heartbeat %v: want more than 0", cfg.Heartbeat)
			}
			if !slices.Contains(r.spec.Coordinators, r.key.Address()) {
				r.logger.Warn("the Spec does not name this key: it waits until the coordinators admit it", "address", r.key.Address(), "command", "allmend members admit --role coordinator")
			}
			cfg.Spec, cfg.Key, cfg.Dir, cfg.Network, cfg.Logger = r.spec, r.key, p.data, r.network, r.logger
			cfg.Marker = p.key + ".coordinates-" + r.id.Short()
			if first := filepath.Join(p.run, verify.CheckpointDir(0)); isFolder(first) {
				cfg.Initial = first
			}
			k, err := node.OpenCoordinator(cfg)
			if err != nil {
				return ended(ctx, err)
			}
			err = c.coordinate(ctx, p, r, k)
			return errors.Join(ended(ctx, err), k.Close())
		},
	}
	p = newPeerFlags(cmd.Flags(), "127.0.0.1:0")
	cmd.Flags().BoolVar(&cfg.Accept, "accept", false, "consent to be named by the run's Spec")
	cmd.Flags().DurationVar(&cfg.Heartbeat, "heartbeat", coordinator.DefaultHeartbeat, "how long to wait for the leader; 300ms suits one machine")
	cmd.Flags().StringVar(&cfg.Shards, "shards", "", "folder of the run's shards, to serve it to members")
	cmd.Flags().BoolVar(&cfg.Stay, "stay", false, "go on serving the log after the run is finished")
	return cmd
}

// coordinate does a coordinator's part until the run is finished.
func (c *console) coordinate(ctx context.Context, p *peerFlags, r ready, k *node.Coordinator) error {
	ctx, cancel := context.WithCancel(ctx)
	current := func() statusResult { return describeCoordinator(r.spec, k.Status()) }
	done, err := p.begin(ctx, c, "coordinator", r, k.Host().Contact(), current)
	if err != nil {
		cancel()
		return err
	}
	err = k.Run(ctx)
	cancel()
	<-done
	if err != nil {
		return err
	}
	s := current()
	return c.result(endResult{Event: "ENDED", Round: s.Checkpoint, Step: s.Step, State: s.State}, "the run is finished; its log is in "+p.data)
}

// staleAfter is how long a member's report counts.
const staleAfter = 30 * time.Second

// describeCoordinator is what /status and /metrics say.
func describeCoordinator(spec run.Spec, s node.CoordinatorStatus) statusResult {
	r := describeView(spec, s.View)
	r.Leader, r.Term = s.Leader, s.Term
	for i, m := range r.Members {
		if report, ok := s.Reports[m.Address]; ok && time.Since(report.At) < staleAfter {
			r.Members[i].Progress = &report.Progress
		}
	}
	r.Last = lastResult{s.LossRound, s.LossStep, float64(s.Loss), s.Targets}
	return r
}
