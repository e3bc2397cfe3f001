package main

import (
	"github.com/allmend-network/allmend/verify/cli"
	"github.com/spf13/cobra"
)

func verifyCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:                "verify",
		Short:              "Check a run, its shards and its checkpoints, trusting nobody; the same as allmend-verify",
		Example:            "  allmend verify --run RUN --evidence evidence --shards shards",
		DisableFlagParsing: true, // they are verify/cli's own
		RunE: func(cmd *cobra.Command, args []string) error {
			if code := cli.RunAs(cmd.Context(), "allmend verify", args, c.in, c.out, c.err); code != exitDone {
				return codeError(code)
			}
			return nil
		},
	}
}
