package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/allmend-network/allmend/node"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/identity/keyfile"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func keysCommand(c *console) *cobra.Command {
	return group(c, "keys", "Make and keep the key of a node, coordinator or auditor",
		keysNew(c), keysShow(c), keysExport(c), keysImport(c))
}

// keyResult is what the commands say about a key.
type keyResult struct {
	File    string           `json:"file"`
	Address identity.Address `json:"address"`
	Peer    string           `json:"peer"`   // libp2p peer ID; "" if it takes a passphrase to know
	Sealed  bool             `json:"sealed"` // under a passphrase
}

func (r keyResult) text() string {
	peer := r.Peer
	if peer == "" {
		peer = "(needs the passphrase)"
	}
	return fmt.Sprintf("address  %s\npeer     %s\nfile     %s", r.Address, peer, r.File)
}

func keysNew(c *console) *cobra.Command {
	var p passphrase
	cmd := &cobra.Command{
		Use:   "new FILE",
		Short: "Draw a new key and write it to FILE, readable by you only",
		Long: `Draw a new key and write it to FILE, readable by you only. FILE is never overwritten.
One process has one key: it signs what the process says, and it is its name on the network.`,
		Example: "  allmend keys new node.key",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := keyfile.Generate(rand.Reader)
			if err != nil {
				return err
			}
			return c.writeKey(cmd.Context(), args[0], key, &p)
		},
	}
	p.flags(cmd.Flags(), true)
	return cmd
}

func keysImport(c *console) *cobra.Command {
	var p passphrase
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Write the key that standard input holds, 64 hexadecimal digits, to FILE",
		Long: `Write the key that standard input holds, 64 hexadecimal digits as "keys export" prints them, to FILE.
FILE is never overwritten.`,
		Example: "  allmend keys import node.key < backup.txt",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := readSecret(c.in)
			if err != nil {
				return err
			}
			return c.writeKey(cmd.Context(), args[0], key, &p)
		},
	}
	p.flags(cmd.Flags(), true)
	return cmd
}

// readSecret reads 64 hexadecimal digits, with 0x before them or not.
func readSecret(r io.Reader) (identity.Key, error) {
	b, err := io.ReadAll(io.LimitReader(r, 1<<10))
	if err != nil {
		return identity.Key{}, err
	}
	digits := strings.TrimPrefix(strings.TrimSpace(string(b)), "0x")
	secret, err := hex.DecodeString(digits)
	if err != nil || len(secret) != 32 {
		// The text is not repeated: it may be most of a secret.
		return identity.Key{}, usagef("standard input holds no key: want 64 hexadecimal digits, got %d characters", len(digits))
	}
	return identity.New([32]byte(secret))
}

func (c *console) writeKey(ctx context.Context, path string, key identity.Key, p *passphrase) error {
	f := keyfile.Clear(key)
	words, err := p.choose(ctx, c)
	if err != nil {
		return err
	}
	if words != nil {
		if f, err = keyfile.Seal(key, words, rand.Reader); err != nil {
			return err
		}
	}
	if err := keyfile.Write(path, f); err != nil {
		return err
	}
	r, err := describeKey(path, key, f.Sealed())
	if err != nil {
		return err
	}
	backup := "Whoever has this file is you; without it, others must rotate you out. Back it up: copy the file to a place only you can read."
	if f.Sealed() {
		backup = "Back it up: copy the file. It is of no use without the passphrase, to you as to others."
	}
	return c.result(r, r.text()+"\n\n"+backup)
}

func describeKey(path string, key identity.Key, sealed bool) (keyResult, error) {
	id, err := node.PeerID(key)
	return keyResult{path, key.Address(), id.String(), sealed}, err
}

func keysShow(c *console) *cobra.Command {
	var p passphrase
	var only string
	cmd := &cobra.Command{
		Use:     "show FILE",
		Short:   "Print the address and the peer ID of a key",
		Long:    "Print the address and the peer ID of a key. A file under a passphrase shows its address without it.",
		Example: "  allmend keys show node.key --only address",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if only != "" && only != "address" && only != "peer" {
				return usagef("--only %s: want address or peer", only)
			}
			f, err := keyfile.Read(args[0])
			if err != nil {
				return err
			}
			r := keyResult{File: args[0], Address: f.Address, Sealed: f.Sealed()}
			if !f.Sealed() || p.given() || only == "peer" {
				key, err := p.open(cmd.Context(), c, args[0], f)
				if err != nil {
					return err
				}
				if r, err = describeKey(args[0], key, f.Sealed()); err != nil {
					return err
				}
			}
			switch only {
			case "address":
				return c.result(r, r.Address.String())
			case "peer":
				return c.result(r, r.Peer)
			}
			return c.result(r, r.text())
		},
	}
	cmd.Flags().StringVar(&only, "only", "", "print nothing but the address, or nothing but the peer (ID)")
	p.flags(cmd.Flags(), false)
	return cmd
}

func keysExport(c *console) *cobra.Command {
	var p passphrase
	cmd := &cobra.Command{
		Use:     "export FILE",
		Short:   "Print the secret of a key as 64 hexadecimal digits",
		Long:    "Print the secret of a key as 64 hexadecimal digits, for a backup or another wallet. Whoever sees them is you.",
		Example: "  allmend keys export node.key > backup.txt",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := c.readKey(cmd.Context(), args[0], &p)
			if err != nil {
				return err
			}
			secret := key.Secret()
			digits := hex.EncodeToString(secret[:])
			return c.result(struct {
				Address identity.Address `json:"address"`
				Secret  string           `json:"secret"`
			}{key.Address(), digits}, digits)
		},
	}
	p.flags(cmd.Flags(), false)
	return cmd
}

// readKey opens the key file at path.
func (c *console) readKey(ctx context.Context, path string, p *passphrase) (identity.Key, error) {
	f, err := keyfile.Read(path)
	if err != nil {
		return identity.Key{}, err
	}
	return p.open(ctx, c, path, f)
}

// passphrase is where the passphrase of a key file comes from.
type passphrase struct {
	file string // path; its first line counts
	ask  bool   // on the terminal, for a new file
}

func (p *passphrase) flags(flags *pflag.FlagSet, writing bool) {
	flags.StringVar(&p.file, "passphrase-file", "", "read the passphrase of the key from this file")
	if writing {
		flags.BoolVar(&p.ask, "passphrase", false, "ask for a passphrase and keep the key under it")
	}
}

func (p *passphrase) given() bool { return p.file != "" }

// choose returns the passphrase of a new file; nil if it is to have none.
func (p *passphrase) choose(ctx context.Context, c *console) ([]byte, error) {
	if p.file != "" {
		return p.read()
	}
	if !p.ask {
		return nil, nil
	}
	first, err := c.password(ctx, "New passphrase: ")
	if errors.Is(err, errNoTerminal) {
		return nil, usagef("--passphrase: %w; use --passphrase-file", err)
	}
	if err != nil {
		return nil, err
	}
	again, err := c.password(ctx, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, again) {
		return nil, usagef("the two passphrases differ; nothing was written")
	}
	return first, nil
}

// open opens f, which was read from path.
func (p *passphrase) open(ctx context.Context, c *console, path string, f keyfile.File) (identity.Key, error) {
	var words []byte
	var err error
	switch {
	case !f.Sealed():
	case p.file != "":
		words, err = p.read()
	default:
		words, err = c.password(ctx, fmt.Sprintf("Passphrase of %s: ", path))
		if errors.Is(err, errNoTerminal) {
			err = usagef("key file %s is under a passphrase and %w; use --passphrase-file", path, err)
		}
	}
	if err != nil {
		return identity.Key{}, err
	}
	key, err := f.Open(words)
	if errors.Is(err, keyfile.ErrPassphrase) {
		return identity.Key{}, fmt.Errorf("%s: %w; check the passphrase, or take the file from your backup", path, keyfile.ErrPassphrase)
	}
	return key, err
}

func (p *passphrase) read() ([]byte, error) {
	f, err := os.Open(p.file)
	if err != nil {
		return nil, fmt.Errorf("passphrase file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, keyfile.MaxPassphrase+2))
	if err != nil {
		return nil, fmt.Errorf("passphrase file %s: %w", p.file, err)
	}
	b, _, _ = bytes.Cut(b, []byte("\n"))
	b = bytes.TrimSuffix(b, []byte("\r"))
	if len(b) == 0 {
		return nil, usagef("passphrase file %s: its first line is empty", p.file)
	}
	return b, nil
}
