// Package cli is the command line of verification, shared by allmend-verify and
// `allmend verify`: arguments in, plain lines and an exit code out.
//
// It trusts nothing that was not given on the command line: the run ID names
// the Spec, and everything else follows from there. It works offline, links no
// network code, and ends by naming what it did not check.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

// Exit codes.
const (
	Verified    = 0
	Failed      = 1 // something is not what it claims to be
	Usage       = 2
	CouldNotSay = 3 // something is missing, or cannot be read
)

const exitCodes = `Exit codes:
  0  verified: every check that was made held
  1  verification failed: something is not what it claims to be
  2  arguments or flags are wrong
  3  could not check: something is missing or cannot be read
`

// usageError is a mistake in the arguments.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run is allmend-verify: args are those after the program's name. It returns
// the exit code.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return RunAs(ctx, "allmend-verify", args, stdin, stdout, stderr)
}

// RunAs is [Run] under another name, such as "allmend verify", in help and
// errors.
func RunAs(ctx context.Context, name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &command{report: report{out: stdout, err: stderr, program: strings.Fields(name)[0]}}
	root := c.root(name)
	root.SetArgs(append([]string{}, args...)) // never nil: cobra would take the process' own
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %s\n", c.program, printable(err.Error()))
		return Usage
	case err != nil:
		c.wrong("verify", err)
	}
	return c.code
}

// command is one invocation: what it was given, and what it found.
type command struct {
	report
	run, evidence, shards, manifest string
	checkpoints, heads              []string
	round                           uint64
	all                             bool
	processors                      int
}

func (c *command) root(name string) *cobra.Command {
	root := &cobra.Command{
		Use:   strings.Fields(name)[0],
		Short: "Check a training run from what it left behind, offline and trusting nobody",
		Long: `Check a training run from what it left behind, offline and trusting nobody but
the run ID: its record log, its checkpoints, its shards, and the training itself
by doing one round again. Without a command all checks are made that the folders
allow; it ends by naming what was not checked.`,
		Example:       "  " + name + " --run 3f9c… --evidence evidence --shards shards",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: name},
		SilenceErrors: true, SilenceUsage: true,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.everything(cmd.Context()) },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see `%s --help`)", err, cmd.CommandPath())
	})
	root.SetUsageTemplate(root.UsageTemplate() + "\n" + exitCodes)
	flags := root.PersistentFlags()
	flags.StringVar(&c.run, "run", "", "`ID` of the run: 64 hexadecimal digits, from somebody you trust")
	flags.StringVar(&c.evidence, "evidence", "", "`FOLDER` that allmend run fetch wrote")
	flags.StringArrayVar(&c.heads, "head", nil, "head.json `FILE` of somebody else's evidence, to compare histories with; may be repeated")
	flags.BoolVar(&c.json, "json", false, "print one JSON object per line to standard output, and nothing else there")
	c.shardsFlag(root)
	c.checkpointFlag(root)
	c.processorsFlag(root)
	root.AddCommand(c.runCommand(name), c.shardsCommand(name), c.checkpointCommand(name), c.replayCommand(name), c.domainCommand(name))
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command or argument %q (see `%s --help`)", args[0], cmd.CommandPath())
	}
	return nil
}

func (c *command) shardsFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.shards, "shards", "", "`FOLDER` of the run's shards, from allmend shards fetch")
}

func (c *command) checkpointFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&c.checkpoints, "checkpoint", nil, "`FOLDER` of a checkpoint beside those in the evidence; may be repeated")
}

func (c *command) processorsFlag(cmd *cobra.Command) {
	cmd.Flags().IntVar(&c.processors, "processors", 0, "replay on `N` processors; 0 means all (the result is the same)")
}

func (c *command) runCommand(name string) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Check a run's Spec, record log, its coordinators' signatures, and each vector in the evidence",
		Long: `Check a run's Spec against the run ID; apply its log again, record by record, and
demand that every transition is the one that follows; check that k coordinators
signed the log's last root; and hold every vector against the name it has in the
log.`,
		Example: "  " + name + " run --run 3f9c… --evidence evidence",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := c.open()
			if err != nil || e == nil {
				return err
			}
			c.vectors(cmd.Context(), e)
			c.notChecked("the training itself: `" + name + " replay` does a round again")
			return c.end(e)
		},
	}
}

func (c *command) shardsCommand(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shards",
		Short: "Check a shard folder, byte by byte, against the run or against its manifest's digest",
		Example: "  " + name + " shards --run 3f9c… --evidence evidence --shards shards\n" +
			"  " + name + " shards --manifest 8a01… --shards shards",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.shardsAlone(cmd.Context(), func(shards.Manifest) error { return nil })
		},
	}
	c.shardsFlag(cmd)
	c.manifestFlag(cmd)
	return cmd
}

func (c *command) manifestFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.manifest, "manifest", "", "`SHA256` of the shards' manifest.json, instead of a run")
}

func (c *command) checkpointCommand(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Check checkpoints: files, state root, the members' and the coordinators' signatures, the log",
		Long: `Check every checkpoint in the evidence, and those given: each file by its digest,
the state root by recomputing it, the manifest against what the log says of its
round, and both thresholds of signatures.`,
		Example: "  " + name + " checkpoint --run 3f9c… --evidence evidence --checkpoint downloaded",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := c.open()
			if err != nil || e == nil {
				return err
			}
			if err := c.checkCheckpoints(e, true); err != nil {
				return err
			}
			return c.end(e)
		},
	}
	c.checkpointFlag(cmd)
	return cmd
}

func (c *command) replayCommand(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Do a round of training again, and one unit of one member, and compare every bit",
		Long: `Do a round of training again and compare every bit with what was signed: each
contributor's contribution, their sum in the ring's published order, the
optimizer's step, and the state after it. The round, the member and the unit are
drawn by a seed hashed from the log's last root, or chosen with --round.`,
		Example: "  " + name + " replay --run 3f9c… --evidence evidence --shards shards\n" +
			"  " + name + " replay --run 3f9c… --evidence evidence --shards shards --round 7",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("round") && c.round == 0 {
				return usagef("--round 0: rounds count from 1; leave --round out for the drawn one")
			}
			return c.replayAlone(cmd.Context())
		},
	}
	c.shardsFlag(cmd)
	c.checkpointFlag(cmd)
	c.processorsFlag(cmd)
	cmd.Flags().Uint64Var(&c.round, "round", 0, "replay round `N` instead of the drawn one")
	cmd.Flags().BoolVar(&c.all, "all", false, "replay every round that the evidence covers")
	return cmd
}

// id reads the run ID, without which nothing is trusted.
func (c *command) id() (digest.Sum, error) {
	if c.run == "" {
		return digest.Sum{}, usagef("--run is needed: nothing is trusted by default; ask somebody you trust for the run's ID")
	}
	id, err := digest.Parse(c.run)
	if err != nil {
		return id, usagef("--run: %w", err)
	}
	if c.evidence == "" {
		return id, usagef("--evidence is needed: the folder that `allmend run fetch --run %s --out DIR` wrote", c.run)
	}
	return id, nil
}
