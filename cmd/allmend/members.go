package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/spf13/cobra"
)

func membersCommand(c *console) *cobra.Command {
	return group(c, "members", "Decide who takes part in a run: members, coordinators, auditors",
		memberChange(c, run.Admit, "admit ADDRESS", "Let a key into a run, or trust it again", 1),
		memberChange(c, run.Remove, "remove ADDRESS", "Take a key out of a run", 1),
		memberChange(c, run.Rotate, "rotate OLD NEW", "Put a new key in the place of an old one", 2),
		membersList(c))
}

// memberChange returns a command that signs a Member statement.
func memberChange(c *console, action, use, short string, n int) *cobra.Command {
	var s signer
	var role string
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    short + ".\nMore than half of the coordinators must say so: each runs this command with its key.\nA signature cannot be taken back: it holds until the statement takes effect, or another one in its place.\nA new coordinator signs, too, after one of the others: nobody is named without consent.",
		Example: fmt.Sprintf("  allmend members %s --run myrun --key c.key --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…", use),
		Args:    arguments(n, n),
		RunE: func(cmd *cobra.Command, args []string) error {
			if role != run.RoleMember && role != run.RoleCoordinator && role != run.RoleAuditor {
				return usagef("--role %s: want member, coordinator or auditor", role)
			}
			change := run.Member{Action: action, Role: role}
			for i, to := range []*identity.Address{&change.Subject, &change.Successor}[:n] {
				a, err := identity.ParseAddress(args[i])
				if err != nil {
					return usageError{err}
				}
				*to = a
			}
			return s.sign(cmd.Context(), c, func(v state.View) (run.Statement, error) {
				change.Number = v.NextMember
				return change, nil
			})
		},
	}
	s.flags(cmd.Flags())
	cmd.Flags().StringVar(&role, "role", run.RoleMember, "member, coordinator or auditor")
	return cmd
}

// peerResult is one key of a run.
type peerResult struct {
	memberResult
	Role string `json:"role"`
}

func membersList(c *console) *cobra.Command {
	var t target
	var role string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Print who takes part in a run",
		Example: "  allmend members list --run myrun --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2…",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
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
			for _, p := range everybody(r.status(), r.log.Machine().View()) {
				if role != "" && p.Role != role {
					continue
				}
				if err := c.result(p, fmt.Sprintf("%-12s %s %s", p.Role, p.Address, p.text())); err != nil {
					return err
				}
			}
			return nil
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().StringVar(&role, "role", "", "only those: "+strings.Join([]string{run.RoleMember, run.RoleCoordinator, run.RoleAuditor}, ", "))
	return cmd
}

// everybody lists the keys of a run by role.
func everybody(s statusResult, v state.View) []peerResult {
	var all []peerResult
	for _, a := range s.Coordinators {
		barred := false
		for _, d := range v.Distrusted {
			barred = barred || d == a
		}
		all = append(all, peerResult{memberResult{Address: a, Barred: barred}, run.RoleCoordinator})
	}
	for _, m := range s.Members {
		all = append(all, peerResult{m, run.RoleMember})
	}
	for _, a := range s.Auditors {
		all = append(all, peerResult{memberResult{Address: a}, run.RoleAuditor})
	}
	return all
}
