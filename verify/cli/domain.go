package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/net/idna"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify"
)

func (c *command) domainCommand(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "domain NAME",
		Short: "Say what the shards hold of a domain and its subdomains, and what was dropped of it and why",
		Long: `Say what the shards hold of a domain and its subdomains, and what was dropped of it
and why, after the shards have been checked byte by byte. Exit code 0 says that
the answer can be relied on, whatever it is.`,
		Example: "  " + name + " domain example.org --run 3f9c… --evidence evidence --shards shards",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usagef("want one domain, got %d (see `%s --help`)", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			domain, err := idna.Lookup.ToASCII(strings.TrimSuffix(args[0], "."))
			if err != nil || !strings.Contains(domain, ".") {
				return usagef("%q is no domain name; give a host such as example.org, without scheme, path or *", args[0])
			}
			return c.shardsAlone(cmd.Context(), func(m shards.Manifest) error { return c.lookUp(cmd.Context(), m, domain) })
		},
	}
	c.shardsFlag(cmd)
	c.manifestFlag(cmd)
	return cmd
}

func (c *command) lookUp(ctx context.Context, m shards.Manifest, domain string) error {
	found, err := verify.LookUp(ctx, c.shards, m, domain)
	if err != nil {
		return err
	}
	var total int64
	var rules []string
	for _, d := range found.Dropped {
		total += d.Documents
		rules = append(rules, fmt.Sprintf("%s: %s (%d)", d.Stage, d.Rule, d.Documents))
	}
	text := fmt.Sprintf("%s: %s of %s kept", domain, count(found.Documents, "document"), count(found.Tokens, "token"))
	switch {
	case found.Unchecked != "":
		c.notChecked("what was dropped of " + domain + ": " + found.Unchecked)
	case total == 0:
		text += "; none dropped"
	default:
		text += fmt.Sprintf("; %s dropped by %s", count(total, "document"), strings.Join(rules, ", "))
	}
	c.held("domain", map[string]any{"domain": domain, "documents": found.Documents, "tokens": found.Tokens, "dropped": total, "rules": found.Dropped}, "%s", text)
	c.notChecked("that a document's domain is the one it was fetched from: the builder says so")
	return nil
}
