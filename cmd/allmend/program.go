package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes, the same for every command. Those of verify are its own, and
// mean the same.
const (
	exitDone        = 0
	exitFailed      = 1 // it was tried and failed, or what was checked is wrong
	exitUsage       = 2 // arguments, flags or a configuration file are wrong
	exitUnavailable = 3 // not now: something is missing or does not answer
)

const exitCodes = `Exit codes:
  0  done
  1  failed, or what was checked is wrong
  2  arguments, flags or a configuration file are wrong
  3  not possible now: something is missing or does not answer
`

// usageError is a mistake in the arguments or in a configuration file.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// unavailableError is what another try, later, may not meet.
type unavailableError struct{ error }

// Unwrap returns what is missing.
func (e unavailableError) Unwrap() error { return e.error }

// codeError ends the program with a code after all has been said.
type codeError int

// Error implements error.
func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// program is the whole of allmend: main and the tests call it. It returns the
// exit code.
func program(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &console{in: stdin, out: stdout, err: stderr}
	root := rootCommand(c)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return c.code(ctx, root.ExecuteContext(ctx))
}

// code says what went wrong and returns the exit code.
func (c *console) code(ctx context.Context, err error) int {
	var code codeError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(c.err, "allmend: interrupted; nothing half done is left behind")
		return exitFailed
	}
	fmt.Fprintln(c.err, "allmend: "+strings.ReplaceAll(err.Error(), "\n", "\n  "))
	switch {
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(unavailableError)), errors.Is(err, fs.ErrNotExist):
		return exitUnavailable
	}
	return exitFailed
}

func rootCommand(c *console) *cobra.Command {
	root := group(c, "allmend", "Train a language model together: shards, runs, checkpoints, and proof of what was done")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see `%s --help`)", err, cmd.CommandPath())
	})
	root.SetUsageTemplate(root.UsageTemplate() + "\n" + exitCodes)
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print one JSON object per line to standard output, and nothing else there")
	root.AddCommand(
		demoCommand(c),
		keysCommand(c),
		runCommand(c),
		membersCommand(c),
		coordinatorCommand(c),
		nodeCommand(c),
		checkpointCommand(c),
		shardsCommand(c),
		generateCommand(c),
		verifyCommand(c),
		versionCommand(c),
	)
	return root
}

// group returns a command that only holds others.
func group(c *console, use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ArbitraryArgs,

		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs a command (see `%s --help`)", name(cmd), cmd.CommandPath())
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %s?", near[0])
			}
			return usagef("%s has no command %q%s (see `%s --help`)", name(cmd), args[0], hint, cmd.CommandPath())
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// name is what errors call a command: its path without the program, which
// stands before every error.
func name(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return "the program"
	}
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// arguments accepts from least to most arguments; most < 0 means any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usagef("%s: got %d arguments; usage: %s", name(cmd), len(args), cmd.UseLine())
		}
		return nil
	}
}
