package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// FetchCheckpoint gets the folder of a checkpoint from peers, as dir, which
// must not exist. It is asked for by its manifest's digest; the initial state,
// round 0, by its state root, which is all that the Spec says of it. Every file
// is checked against the manifest; signatures are not fetched, the log has
// them.
func (h *Host) FetchCheckpoint(ctx context.Context, c member.Checkpoint, dir string, peers []identity.Address, progress func(n int)) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+unfinished+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	name, check := c.Manifest, CheckSHA256(c.Manifest)
	if c.Round == 0 {
		name, check = c.State, checkStart(c.State)
	}
	path := filepath.Join(temp, checkpoint.ManifestFile)
	if err := h.Fetch(ctx, name, path, peers, check, 0, checkpoint.MaxManifestSize, progress); err != nil {
		return fmt.Errorf("manifest of the checkpoint of round %d: %w", c.Round, err)
	}
	_, m, err := checkpoint.ReadManifest(temp)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		err := h.Fetch(ctx, f.SHA256, filepath.Join(temp, f.Path), peers, CheckSHA256(f.SHA256), f.Bytes, f.Bytes, progress)
		if err != nil {
			return fmt.Errorf("%s of the checkpoint of round %d: %w", f.Path, c.Round, err)
		}
	}
	return errors.Join(syncDir(temp), os.Rename(temp, dir), syncDir(filepath.Dir(dir)))
}

// checkStart accepts the manifest of a round-0 checkpoint with a state root.
func checkStart(root digest.Sum) Check {
	return func(r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, checkpoint.MaxManifestSize+1))
		if err != nil {
			return err
		}
		m, err := checkpoint.ParseManifest(b)
		if err == nil && (m.Round != 0 || m.State != root) {
			err = fmt.Errorf("it is of round %d with state %s, want round 0 with %s", m.Round, m.State.Short(), root.Short())
		}
		return err
	}
}

// checkInitial fails when a folder that the operator gave is not the state
// that the run starts from.
func checkInitial(dir string, spec run.Spec) error {
	if dir == "" {
		return nil
	}
	_, m, err := checkpoint.ReadManifest(dir)
	if err != nil {
		return fmt.Errorf("initial state: %w", err)
	}
	if m.Round != 0 || m.State != spec.InitialState {
		return fmt.Errorf("initial state: %s holds state %s of round %d, the run starts from %s; give the folder that `allmend run init` wrote", dir, m.State.Short(), m.Round, spec.InitialState.Short())
	}
	return nil
}
