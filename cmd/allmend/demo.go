package main

import (
	"errors"
	"os"

	"github.com/allmend-network/allmend/cmd/allmend/demo"
	"github.com/spf13/cobra"
)

func demoCommand(c *console) *cobra.Command {
	opt := demo.Defaults()
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show everything at once on this machine: texts in, a signed and verified checkpoint out",
		Long: `Show everything at once on this machine: build shards, start coordinators and nodes as processes of their own, train a
small model while some of them are killed, and let a stranger verify the result and refuse forgeries.`,
		Example: "  allmend demo --keep",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			opt.Self, opt.Stdout, opt.Stderr, opt.JSON = self, c.out, c.err, c.json
			err = demo.Run(cmd.Context(), opt)
			var usage *demo.UsageError
			if errors.As(err, &usage) {
				return usageError{err}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&opt.Dir, "dir", opt.Dir, "folder to work in; it must be empty or not exist, and stays")
	cmd.Flags().StringArrayVar(&opt.Inputs, "input", nil, "crawl, JSON lines, text, or folder of them to train on instead of a generated web; may be repeated")
	cmd.Flags().IntVar(&opt.Nodes, "nodes", opt.Nodes, "nodes that train; one more joins late")
	cmd.Flags().IntVar(&opt.Coordinators, "coordinators", opt.Coordinators, "coordinators: 1, 3 or 5")
	cmd.Flags().IntVar(&opt.Rounds, "rounds", opt.Rounds, "rounds to train")
	cmd.Flags().BoolVar(&opt.Faults, "faults", opt.Faults, "kill a node and the leader on the way")
	cmd.Flags().BoolVar(&opt.Keep, "keep", opt.Keep, "keep the temporary folder")
	return cmd
}
