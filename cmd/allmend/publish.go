package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/allmend-network/allmend/node"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/exchange"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/identity/keyfile"
	"github.com/spf13/cobra"
)

// publishResult is where shards can be had.
type publishResult struct {
	Manifest digest.Sum `json:"manifest"`
	Root     string     `json:"root"` // UnixFS CID, for IPFS users; nobody signs it
	At       []string   `json:"at"`   // multiaddrs; none with --print
}

func (r publishResult) text() string {
	text := fmt.Sprintf("manifest  %s\nIPFS      %s (the root that `ipfs add -r --cid-version=1 --chunker=size-1048576` gives)", r.Manifest, r.Root)
	for _, at := range r.At {
		text += fmt.Sprintf("\n  allmend shards fetch --manifest %s --peer %s --out shards", r.Manifest, at)
	}
	return text
}

func shardsPublish(c *console) *cobra.Command {
	var network node.HostConfig
	var file string
	var p passphrase
	var only bool
	cmd := &cobra.Command{
		Use:   "publish FOLDER",
		Short: "Check a shard folder and serve its blocks to everybody who asks, until interrupted",
		Long: `Check a shard folder and serve its blocks to everybody who asks, until interrupted. What was dropped, and why, is not
served: only a run's members and admitted auditors get that, from the run's nodes. In a run no publishing is needed: nodes
and coordinators that were given --shards serve them.`,
		Example: "  allmend shards publish shards --listen /ip4/0.0.0.0/tcp/4001",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := c.checkShards(ctx, args[0]); err != nil {
				return err
			}
			folder, err := shards.OpenFolder(args[0])
			if err != nil {
				return err
			}
			defer folder.Close()
			_, sum := folder.Manifest()
			root, err := exchange.Root(args[0])
			if err != nil {
				return err
			}
			r := publishResult{Manifest: sum, Root: root.String(), At: []string{}}
			if only {
				return c.result(r, r.text())
			}
			if network.Key, err = c.keyOr(ctx, file, &p); err != nil {
				return err
			}
			return ended(ctx, c.serve(ctx, folder, r, network))
		},
	}
	cmd.Flags().StringSliceVar(&network.Listen, "listen", []string{"/ip4/0.0.0.0/tcp/4001"}, "multiaddr to listen on; may be repeated")
	cmd.Flags().StringSliceVar(&network.Announce, "announce", nil, "multiaddr to tell others instead; may be repeated")
	cmd.Flags().StringVar(&file, "key", "", "key file, so that the address stays the same; without it a key is drawn")
	p.flags(cmd.Flags(), false)
	cmd.Flags().BoolVar(&only, "print", false, "print the manifest's digest and the IPFS root, and serve nothing")
	return cmd
}

// checkShards reads every file of a shard folder.
func (c *console) checkShards(ctx context.Context, dir string) error {
	m, _, err := shards.ReadManifest(dir)
	if err != nil {
		return err
	}
	var total int64
	for _, f := range m.Files {
		total += f.Bytes
	}
	shown := c.progress("checking bytes", total, true)
	defer shown.end()
	found, err := shards.Check(ctx, dir, func(n int) { shown.add(int64(n)) })
	if err != nil {
		return err
	}
	for _, p := range found.Problems {
		err = errors.Join(err, p)
	}
	if err != nil {
		return fmt.Errorf("%s is not what its manifest says: %w", dir, err)
	}
	return nil
}

// keyOr reads a key file or, if none is named, draws a key.
func (c *console) keyOr(ctx context.Context, path string, p *passphrase) (identity.Key, error) {
	if path == "" {
		return keyfile.Generate(rand.Reader)
	}
	return c.readKey(ctx, path, p)
}

// serve serves a folder's blocks until ctx ends.
func (c *console) serve(ctx context.Context, folder *shards.Folder, r publishResult, network node.HostConfig) error {
	logger := slog.New(slog.NewTextHandler(c.err, nil))
	network.Software, network.Strangers, network.Logger = software, node.DefaultStrangers, logger
	host, err := node.OpenHost(network)
	if err != nil {
		return err
	}
	defer host.Close()
	m, _ := folder.Manifest()
	gate, err := exchange.ManifestGate(m, anybody, nobody)
	if err != nil {
		return err
	}
	x := exchange.New(ctx, host.Libp2p(), exchange.Config{Store: folder, Allow: gate, Logger: logger})
	r.At = append(r.At, host.Contact().At...)
	if err := c.result(r, r.text()); err != nil {
		return errors.Join(err, x.Close())
	}
	<-ctx.Done()
	return x.Close()
}

// Who is served, whatever names them.
func anybody[T any](T) bool { return true }
func nobody[T any](T) bool  { return false }

func shardsFetch(c *console) *cobra.Command {
	var t target
	var manifest, out string
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch shards from peers, checking each block: those of a run, or those of a manifest",
		Long: `Fetch shards from peers, checking each block: those of a run, or those of a manifest that somebody publishes. The file
that says what was dropped is left out where the peers do not give it to strangers.`,
		Example: "  allmend shards fetch --run myrun --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2… --out shards",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" || (t.run == "") == (manifest == "") {
				return usagef("shards fetch: --out is needed, and either --run or --manifest")
			}
			if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s exists already: choose another folder with --out", out)
			}
			a, name, err := t.shards(cmd.Context(), c, manifest)
			if err != nil {
				return err
			}
			defer a.host.Close()
			m, err := a.fetchShards(cmd.Context(), c, name, t, out)
			if err != nil {
				return err
			}
			r := describeShards(out, m, name)
			return c.result(r, r.text())
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().StringVar(&manifest, "manifest", "", "digest of the manifest, 64 hexadecimal digits, instead of --run")
	cmd.Flags().StringVar(&out, "out", "", "folder to write; it must not exist")
	return cmd
}

// shards connects to peers that may have shards, and says which to ask for.
func (t *target) shards(ctx context.Context, c *console, manifest string) (*client, digest.Sum, error) {
	if manifest == "" {
		a, err := t.connect(ctx, c)
		if err != nil {
			return nil, digest.Sum{}, err
		}
		return a, a.spec.Shards, nil
	}
	name, err := digest.Parse(manifest)
	if err != nil {
		return nil, name, usagef("--manifest: %w", err)
	}
	a, err := t.open(c, digest.Sum{})
	return a, name, err
}

// fetchShards writes a shard folder.
func (a *client) fetchShards(ctx context.Context, c *console, name digest.Sum, t target, out string) (m shards.Manifest, err error) {
	a.introduce(ctx)
	a.host.IntroduceAll(ctx) // bitswap asks whom we are connected to
	// Whoever has no run to talk about is connected all the same.
	reached := false
	for _, contact := range a.host.Contacts() {
		reached = reached || a.host.Connected(contact.Address)
	}
	if !reached {
		return m, unavailableError{fmt.Errorf("none of the peers answers: %s", strings.Join(t.peers, ", "))}
	}
	err = withTemp(out, func(temp string) error {
		store, err := shards.OpenDirStore(filepath.Join(temp, "blocks"))
		if err != nil {
			return err
		}
		x := exchange.New(ctx, a.host.Libp2p(), exchange.Config{Store: store, Patience: t.timeout, Logger: a.logger})
		m, err = a.fetchBlocks(ctx, c, x, name)
		if err := errors.Join(err, x.Close()); err != nil {
			return err
		}
		return shards.Assemble(ctx, m, store, out)
	})
	return m, err
}

// fetchBlocks fetches all blocks of a manifest that strangers are given.
func (a *client) fetchBlocks(ctx context.Context, c *console, x *exchange.Exchange, name digest.Sum) (shards.Manifest, error) {
	m, err := x.FetchManifest(ctx, name, nil)
	if err != nil {
		return m, stalled(err)
	}
	public := []shards.Kind{shards.Tokens, shards.TokenIdx, shards.Documents, shards.Tokenizer}
	shown := c.progress("blocks", int64(len(m.Blocks(public...))), false)
	defer shown.end()
	err = x.FetchShards(ctx, m, nil, func(held, _ int) { shown.add(int64(held) - shown.done) }, public...)
	return m, stalled(err)
}

// stalled says that blocks may come another time.
func stalled(err error) error {
	if errors.As(err, new(*exchange.StalledError)) {
		return unavailableError{err}
	}
	return err
}
