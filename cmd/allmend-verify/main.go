// Command allmend-verify checks, offline and trusting nobody, what a training
// run left behind: its log, its checkpoints, its shards, and the training.
//
// It is "allmend verify" as a program of its own, which links no network code.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/allmend-network/allmend/verify/cli"
)

func main() { os.Exit(process()) }

// process runs the program until it ends or is told to by SIGINT or SIGTERM.
func process() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
