package main

import (
	"fmt"

	"github.com/allmend-network/allmend/node"
	"github.com/spf13/cobra"
)

// version is that of this software, for people and messages. Formats and
// protocols have numbers of their own.
const version = "0.1.0"

// software is what peers are told.
const software = "allmend/" + version

func versionCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of this program and of its protocols",
		Example: "  allmend version",
		Args:    arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return c.result(struct {
				Version  string `json:"version"`
				Protocol int    `json:"protocol"`
			}{version, node.Version}, fmt.Sprintf("allmend %s, protocol %d", version, node.Version))
		},
	}
}
