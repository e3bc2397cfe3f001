// Command allmend trains a language model together with others: it makes keys,
// builds shards, starts runs, takes part in them and verifies what they made.
//
// This package is wiring only. Every command is a file of its own; what they
// do is in the packages they call.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/allmend-network/allmend/cmd/allmend/demo"
)

func main() { os.Exit(process()) }

// process runs the program with this process' arguments, until it ends or is
// told to by SIGINT or SIGTERM. The first asks it to end in order; a second
// one ends it at once.
func process() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if os.Getenv(demo.Supervised) != "" {
		ctx = untilEnd(ctx, os.Stdin)
	}
	return program(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// untilEnd returns a context that ends when r does: a process of the demo ends
// with its supervisor, however that died. The goroutine ends with r.
func untilEnd(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, r) // whatever ends it, nobody supervises any more
		cancel()
	}()
	return ctx
}
