package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/spf13/cobra"
)

func checkpointCommand(c *console) *cobra.Command {
	return group(c, "checkpoint", "List a run's checkpoints, or fetch one as a folder that Hugging Face transformers opens",
		checkpointList(c), checkpointFetch(c))
}

// checkpointResult is what the run says of one checkpoint.
type checkpointResult struct {
	Round        uint64     `json:"round"`
	Step         uint64     `json:"step"`
	State        digest.Sum `json:"state"`
	Manifest     digest.Sum `json:"manifest"` // zero for round 0, and while members do not agree yet
	Signed       bool       `json:"signed"`   // by enough coordinators
	Members      int        `json:"members"`  // signatures
	Coordinators int        `json:"coordinators"`
}

func (r checkpointResult) text() string {
	switch {
	case r.Round == 0:
		return fmt.Sprintf("round 0      the state the run began with: %s", r.State)
	case r.Signed:
		return fmt.Sprintf("round %-6d signed by %d members and %d coordinators: manifest %s", r.Round, r.Members, r.Coordinators, r.Manifest)
	}
	return fmt.Sprintf("round %-6d not signed yet: %d members, %d coordinators", r.Round, r.Members, r.Coordinators)
}

func describeCheckpoint(k state.Checkpoint, signed bool) checkpointResult {
	return checkpointResult{k.Round, k.Step, k.State, k.Manifest, signed, len(k.Members), len(k.Coordinators)}
}

func checkpointList(c *console) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Print the checkpoints that a run's members keep, and those that still gather signatures",
		Example: "  allmend checkpoint list --run myrun --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), t.timeout)
			defer cancel()
			a, err := t.connect(ctx, c)
			if err != nil {
				return err
			}
			defer a.host.Close()
			r, err := a.view(ctx)
			if err != nil {
				return err
			}
			v := r.log.Machine().View()
			var all []checkpointResult
			for _, k := range v.Signed {
				all = append(all, describeCheckpoint(k, true))
			}
			for _, k := range v.Due {
				all = append(all, describeCheckpoint(k, false))
			}
			for _, k := range all {
				if err := c.result(k, k.text()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	t.flags(cmd.Flags())
	return cmd
}

func checkpointFetch(c *console) *cobra.Command {
	var t target
	var round uint64
	var out string
	cmd := &cobra.Command{
		Use:     "fetch",
		Short:   "Fetch a signed checkpoint: the last one, or that of a round",
		Long:    "Fetch a signed checkpoint: the last one, or that of a round. Each byte is checked against what the coordinators signed.",
		Example: "  allmend checkpoint fetch --run myrun --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2… --out checkpoint",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("checkpoint fetch: --out is needed")
			}
			if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s exists already: choose another folder with --out", out)
			}
			a, err := t.connect(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer a.host.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), t.timeout)
			defer cancel()
			r, err := a.view(ctx)
			if err != nil {
				return err
			}
			k, err := choose(r.log.Machine().View().Signed, round, cmd.Flags().Changed("round"))
			if err != nil {
				return err
			}
			a.introduce(cmd.Context())
			err = withTemp(out, func(temp string) error { return a.fetchCheckpoint(cmd.Context(), c, k, temp, out) })
			if err != nil {
				return err
			}
			result := describeCheckpoint(k, true)
			return c.result(result, result.text()+"\nfolder       "+out)
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().Uint64Var(&round, "round", 0, "of this round instead of the last signed one")
	cmd.Flags().StringVar(&out, "out", "", "folder to write; it must not exist")
	return cmd
}

// choose picks the last of the signed checkpoints, or that of a round.
func choose(signed []state.Checkpoint, round uint64, given bool) (state.Checkpoint, error) {
	for i := len(signed) - 1; i >= 0; i-- {
		if !given || signed[i].Round == round {
			return signed[i], nil
		}
	}
	return state.Checkpoint{}, unavailableError{fmt.Errorf("no signed checkpoint of round %d is kept (see `allmend checkpoint list`)", round)}
}

// fetchCheckpoint writes a checkpoint folder with its signatures, by way of a
// temporary folder on the same disk.
func (a *client) fetchCheckpoint(ctx context.Context, c *console, k state.Checkpoint, temp, out string) error {
	dir := filepath.Join(temp, fmt.Sprint(k.Round))
	shown := c.progress(fmt.Sprintf("bytes of the checkpoint of round %d", k.Round), -1, true)
	defer shown.end()
	wanted := member.Checkpoint{Round: k.Round, State: k.State, Manifest: k.Manifest}
	if err := a.host.FetchCheckpoint(ctx, wanted, dir, a.holders(k.Contributors), func(n int) { shown.add(int64(n)) }); err != nil {
		return unavailableError{err}
	}
	if s := signaturesOf(k); s != nil {
		if err := checkpoint.WriteSignatures(dir, *s); err != nil {
			return err
		}
	}
	_, m, err := checkpoint.Check(dir)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		err = errors.Join(err, os.Chmod(filepath.Join(dir, f.Path), 0o644))
	}
	return errors.Join(err, os.Chmod(dir, 0o755), shards.Publish(dir, out))
}
