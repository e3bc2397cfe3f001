package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/node"
	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/spf13/cobra"
)

func nodeCommand(c *console) *cobra.Command {
	var p *peerFlags
	var shards string
	var processors int
	var stay bool
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Take part in a run as a member: train until it is finished",
		Long: `Take part in a run as a member: train until it is finished. It may be stopped and killed at any moment, and goes on
where the others are when it is started again. Every flag may stand in the file of --config, under its name.`,
		Example: "  allmend node --run myrun --key node.key --data node --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			r, err := p.resolve(ctx, c)
			if err != nil {
				return err
			}
			if processors < 0 {
				return usagef("--processors %d: want 0, which means all, or more", processors)
			}
			cfg := node.Config{
				Spec: r.spec, Key: r.key, Dir: p.data, Shards: shards, Network: r.network,
				Device: cpu.New(processors), Stay: stay, Logger: r.logger,
			}
			if first := filepath.Join(p.run, verify.CheckpointDir(0)); isFolder(first) {
				cfg.Initial = first
			}
			n, err := node.Open(cfg)
			if err != nil {
				return ended(ctx, err)
			}
			err = c.take(ctx, p, r, n)
			return errors.Join(ended(ctx, err), n.Close())
		},
	}
	p = newPeerFlags(cmd.Flags(), "")
	cmd.Flags().StringVar(&shards, "shards", "", "folder of the run's shards; without it blocks are fetched from other members as they are needed")
	cmd.Flags().IntVar(&processors, "processors", 0, "processors to keep busy; 0 means all")
	cmd.Flags().BoolVar(&stay, "stay", false, "go on serving the evidence after the run is finished")
	return cmd
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// endResult is what a member leaves behind when the run is finished.
type endResult struct {
	Event      string     `json:"event"` // "ENDED"
	Round      uint64     `json:"round"`
	Step       uint64     `json:"step"`
	State      digest.Sum `json:"state"`
	Checkpoint string     `json:"checkpoint"` // folder
}

// take takes part in the run, and says where the result is.
func (c *console) take(ctx context.Context, p *peerFlags, r ready, n *node.Node) error {
	ctx, cancel := context.WithCancel(ctx)
	current := func() statusResult { return describeView(r.spec, n.Status().View) }
	done, err := p.begin(ctx, c, "member", r, n.Host().Contact(), current)
	if err != nil {
		cancel()
		return err
	}
	err = n.Run(ctx)
	cancel()
	<-done
	s := n.Status()
	if !s.Finished || len(s.View.Signed) == 0 {
		return err
	}
	last := s.View.Signed[len(s.View.Signed)-1]
	folder, _ := n.Result() // the round-0 state may be all there is
	end := endResult{"ENDED", last.Round, last.Step, last.State, folder}
	return errors.Join(err, c.result(end, fmt.Sprintf("the run is finished after round %d; the model is in %s\n  allmend generate --checkpoint %s --prompt TEXT", end.Round, end.Checkpoint, end.Checkpoint)))
}
