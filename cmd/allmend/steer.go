package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func runStatus(c *console) *cobra.Command {
	var t target
	var follow bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print what a run is doing, from its log and as far as its coordinators have signed it",
		Long: `Print what a run is doing. The log is fetched from a peer, applied here, and believed as far as more than half of
the coordinators have signed it.`,
		Example: "  allmend run status --run myrun --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := t.connect(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer a.host.Close()
			if follow {
				return a.narrate(cmd.Context(), c)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), t.timeout)
			defer cancel()
			r, err := a.view(ctx)
			if err != nil {
				return err
			}
			s := r.status()
			return c.result(s, s.text())
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().BoolVar(&follow, "follow", false, "print every transition from the first on, and go on until the run is finished")
	return cmd
}

// narrate prints the run's transitions until it is finished.
func (a *client) narrate(ctx context.Context, c *console) error {
	r, err := newReading(a.spec, c.narrate)
	if err != nil {
		return err
	}
	return a.anyone(ctx, func(ctx context.Context, peer identity.Address) error {
		return r.follow(ctx, a.host, peer, func() bool {
			return len(r.waiting) == 0 && r.log.Machine().View().Status == state.Finished
		})
	})
}

// signer is a coordinator's key and the run it signs for.
type signer struct {
	target
	key        string // path of the key file
	passphrase passphrase
}

func (s *signer) flags(flags *pflag.FlagSet) {
	s.target.flags(flags)
	flags.StringVar(&s.key, "key", "", "key file of a coordinator")
	s.passphrase.flags(flags, false)
}

// signedResult is what became of a statement.
type signedResult struct {
	Statement run.Statement      `json:"statement"`
	Kind      string             `json:"kind"`
	Signers   []identity.Address `json:"signers"`
	Needed    int                `json:"needed"`
	Applied   bool               `json:"applied"`
}

func (r signedResult) text() string {
	if r.Applied {
		return fmt.Sprintf("done: %d of the coordinators have signed, %d are needed", len(r.Signers), r.Needed)
	}
	return fmt.Sprintf("signed by %d of the coordinators, %d are needed: ask another to run the same command with its key\nsigned by  %s", len(r.Signers), r.Needed, shorts(r.Signers))
}

// sign lets decide make a statement from the run's state, signs it, has it
// applied, and says what became of it.
func (s *signer) sign(ctx context.Context, c *console, decide func(state.View) (run.Statement, error)) error {
	if s.key == "" {
		return usagef("--key is needed: this must be signed by a coordinator")
	}
	key, err := c.readKey(ctx, s.key, &s.passphrase)
	if err != nil {
		return err
	}
	a, err := s.connect(ctx, c)
	if err != nil {
		return err
	}
	defer a.host.Close()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	before, err := a.view(ctx)
	if err != nil {
		return err
	}
	statement, err := decide(before.log.Machine().View())
	if err != nil {
		return err
	}
	signed, err := run.Sign(a.id, key, statement)
	if err != nil {
		return err
	}
	var refused *state.Refused
	if err := a.submit(ctx, signed); errors.As(err, &refused) {
		return fmt.Errorf("the run refuses this %s: %s", statement.Kind(), refused.Reason)
	} else if err != nil {
		return err
	}
	r, err := a.outcome(ctx, statement, key.Address())
	if err != nil {
		return fmt.Errorf("the statement was taken, but what became of it is not known: %w", err)
	}
	return c.result(r, r.text())
}

// outcome reads the log again and says whether a statement has its signatures.
func (a *client) outcome(ctx context.Context, statement run.Statement, by identity.Address) (signedResult, error) {
	signers := map[identity.Address]bool{by: true}
	after, err := newReading(a.spec, func(e state.Entry) error {
		if e.Statement == nil || e.Statement.Statement != statement {
			return nil
		}
		who, err := e.Statement.Signers(a.id)
		for _, w := range who {
			signers[w] = true
		}
		return err
	})
	if err != nil {
		return signedResult{}, err
	}
	err = a.anyone(ctx, func(ctx context.Context, peer identity.Address) error {
		return after.follow(ctx, a.host, peer, func() bool { return true })
	})
	if err != nil {
		return signedResult{}, err
	}
	v := after.log.Machine().View()
	r := signedResult{Statement: statement, Kind: statement.Kind(), Signers: []identity.Address{}, Needed: v.Threshold, Applied: true}
	for _, p := range v.Pending {
		if p.Statement == statement {
			r.Applied = false
		}
	}
	for _, w := range v.Coordinators {
		if signers[w] {
			r.Signers = append(r.Signers, w)
		}
	}
	return r, nil
}

// steer returns a command that signs a Control.
func steer(c *console, action, short string) *cobra.Command {
	var s signer
	cmd := &cobra.Command{
		Use:     action,
		Short:   short,
		Long:    short + ".\nMore than half of the coordinators must say so: each runs this command with its key.\nA signature cannot be taken back: it holds until the statement takes effect, or another one in its place.",
		Example: fmt.Sprintf("  allmend run %s --run myrun --key c.key --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…", action),
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.sign(cmd.Context(), c, func(v state.View) (run.Statement, error) {
				return run.Control{Number: v.NextControl, Action: action}, nil
			})
		},
	}
	s.flags(cmd.Flags())
	return cmd
}

func runRewind(c *console) *cobra.Command {
	var s signer
	var to uint64
	cmd := &cobra.Command{
		Use:   "rewind",
		Short: "Take a run back to a signed checkpoint: the rounds after it are void",
		Long: `Take a run back to one of its last two signed checkpoints: the rounds after it are void, and their samples go back
to the pool. More than half of the coordinators must say so: each runs this command with its key.`,
		Example: "  allmend run rewind --to 20 --run myrun --key c.key --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("to") {
				return usagef("run rewind: --to is needed: the round of a signed checkpoint")
			}
			return s.sign(cmd.Context(), c, func(v state.View) (run.Statement, error) {
				for _, k := range v.Signed {
					if k.Round == to {
						return run.Rewind{Number: v.NextRewind, Round: to, Manifest: k.Manifest}, nil
					}
				}
				return nil, fmt.Errorf("the run has no signed checkpoint of round %d to go back to (see `allmend checkpoint list`)", to)
			})
		},
	}
	s.flags(cmd.Flags())
	cmd.Flags().Uint64Var(&to, "to", 0, "round of the checkpoint; 0 is the beginning")
	return cmd
}
