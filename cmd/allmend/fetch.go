package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/spf13/cobra"
)

// fetchResult is what run fetch wrote.
type fetchResult struct {
	Run         run.ID   `json:"run"`
	Folder      string   `json:"folder"`
	Records     uint64   `json:"records"`
	Checkpoints []uint64 `json:"checkpoints"` // rounds
	Vectors     int      `json:"vectors"`
	Missing     []string `json:"missing"` // what no peer had
}

func (r fetchResult) text() string {
	text := fmt.Sprintf("run          %s\nlog          %d records\ncheckpoints  of rounds %v\nvectors      %d", r.Run, r.Records, r.Checkpoints, r.Vectors)
	for _, m := range r.Missing {
		text += "\nmissing      " + m
	}
	return text + fmt.Sprintf("\n\nCheck it, offline:\n  allmend verify --run %s --evidence %s", r.Run, r.Folder)
}

func runFetch(c *console) *cobra.Command {
	var t target
	var out string
	var contributions bool
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Write a run's evidence to a folder: its log, checkpoints and vectors, to verify it offline",
		Long: `Write a run's evidence to a folder: the Spec, the log with the coordinators' signatures, the last two signed
checkpoints, and what is needed to replay the rounds since the older one. A folder that is there already is brought up to
date. --run may be the run's ID alone.`,
		Example: "  allmend run fetch --run RUN --peer /ip4/192.0.2.1/tcp/4001/p2p/16Uiu2… --out evidence",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("run fetch: --out is needed")
			}
			a, err := t.connect(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer a.host.Close()
			r, err := a.fetch(cmd.Context(), c, out, t.timeout, contributions)
			if err != nil {
				return err
			}
			return c.result(r, r.text())
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", "", "evidence folder to write, or to add to")
	cmd.Flags().BoolVar(&contributions, "contributions", false, "fetch each member's contributions, too: a replay does without")
	return cmd
}

// evidence is an evidence folder being filled.
type evidence struct {
	*client
	c      *console
	writer *verify.Writer
	temp   string // for files on their way
	result fetchResult

	contributions bool // wanted, too
}

// fetch writes the evidence folder dir.
func (a *client) fetch(ctx context.Context, c *console, dir string, timeout time.Duration, contributions bool) (r fetchResult, err error) {
	if err := a.mayHold(dir); err != nil {
		return r, err
	}
	err = withTemp(dir, func(temp string) error {
		w, err := verify.NewWriter(dir)
		if err != nil {
			return err
		}
		f := &evidence{client: a, c: c, writer: w, temp: temp, result: fetchResult{Run: a.id, Folder: dir}, contributions: contributions}
		err = f.fill(ctx, timeout)
		r = f.result
		return err
	})
	return r, err
}

// mayHold refuses a folder with the evidence of another run.
func (a *client) mayHold(dir string) error {
	old, err := readSpec(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id, err := old.ID()
	if err == nil && id != a.id {
		err = fmt.Errorf("%s holds the evidence of run %s; choose another folder with --out", dir, id)
	}
	return err
}

// fill brings the folder up to date. A run that goes on meanwhile may drop
// what was wanted, when a newer checkpoint has taken its place; then what is
// wanted is another.
func (f *evidence) fill(ctx context.Context, timeout time.Duration) error {
	const tries = 3
	for try := 1; ; try++ {
		f.result.Missing, f.result.Checkpoints, f.result.Vectors = []string{}, []uint64{}, 0
		size := f.result.Records
		if err := f.once(ctx, timeout); err != nil {
			return err
		}
		if len(f.result.Missing) == 0 || try == tries || f.result.Records == size {
			return nil
		}
	}
}

func (f *evidence) once(ctx context.Context, timeout time.Duration) error {
	if err := f.log(ctx, timeout); err != nil {
		return err
	}
	e, err := verify.Open(f.id, f.result.Folder)
	if err != nil {
		return err
	}
	f.result.Records = e.Size
	f.introduce(ctx)
	for _, k := range e.View.Signed {
		err := f.checkpoint(ctx, k)
		if errors.As(err, new(unavailableError)) {
			err = f.miss(ctx, fmt.Sprintf("the checkpoint of round %d", k.Round), err)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		f.result.Checkpoints = append(f.result.Checkpoints, k.Round)
	}
	return errors.Join(f.rounds(ctx, e), f.shardManifest(ctx))
}

// log writes the Spec, the log as far as it is covered, and its head.
func (f *evidence) log(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var records [][]byte
	var r *reading
	err := f.anyone(ctx, func(ctx context.Context, peer identity.Address) (err error) {
		records = nil
		r, err = newReading(f.spec, func(e state.Entry) error {
			records = append(records, e.Bytes)
			return nil
		})
		if err != nil {
			return err
		}
		return r.follow(ctx, f.host, peer, func() bool { return true })
	})
	if err != nil {
		return err
	}
	head, ok := r.heads.Signed(r.heads.Covered())
	if !ok {
		return unavailableError{errors.New("the run has no record yet that its coordinators signed; try again when it has begun")}
	}
	return errors.Join(f.writer.Spec(f.spec), f.writer.Log(each(records)), f.writer.Head(head))
}

func each(records [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range records {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// checkpoint fetches one checkpoint, unless it is there.
func (f *evidence) checkpoint(ctx context.Context, k state.Checkpoint) error {
	if f.writer.Has(verify.CheckpointDir(k.Round)) {
		return nil
	}
	return f.fetchCheckpoint(ctx, f.c, k, f.temp, filepath.Join(f.result.Folder, verify.CheckpointDir(k.Round)))
}

// signaturesOf returns the signatures over a checkpoint; nil for that of round
// 0, which the Spec vouches for.
func signaturesOf(k state.Checkpoint) *checkpoint.Signatures {
	if k.Round == 0 {
		return nil
	}
	s := &checkpoint.Signatures{Checkpoint: run.Checkpoint{Round: k.Round, Manifest: k.Manifest, State: k.State}}
	for _, g := range k.Members {
		if g.Statement == s.Checkpoint {
			s.Members = append(s.Members, g.Signature)
		}
	}
	for _, g := range k.Coordinators {
		if g.Statement == s.Checkpoint {
			s.Coordinators = append(s.Coordinators, g.Signature)
		}
	}
	return s
}

// rounds fetches, newest first because the oldest may be dropped any moment
// anyhow, what the rounds since the older checkpoint need to be
// replayed: reduced vectors, and the hashes of each contributor's units.
func (f *evidence) rounds(ctx context.Context, e *verify.Evidence) error {
	var wanted []verify.Round
	for _, r := range e.Rounds {
		if !r.Void && len(e.View.Signed) > 0 && r.Closed.Round > e.View.Signed[0].Round {
			wanted = append(wanted, r)
		}
	}
	size := 4 * int64(f.spec.Model.Params())
	shown := f.c.progress("rounds", int64(len(wanted)), false)
	defer shown.end()
	for _, r := range slices.Backward(wanted) {
		what := fmt.Sprintf("the reduced vector of round %d", r.Closed.Round)
		if err := f.vector(ctx, r.Closed.Reduced, what, r.Closed.Contributors, size); err != nil {
			return err
		}
		for _, member := range r.Closed.Contributors {
			if err := f.units(ctx, r, member); err != nil {
				return err
			}
			if f.contributions {
				what := fmt.Sprintf("the contribution of %s in round %d", member, r.Closed.Round)
				if err := f.vector(ctx, r.Commits[member].Contribution, what, []identity.Address{member}, size); err != nil {
					return err
				}
			}
		}
		shown.add(1)
	}
	return nil
}

// vector fetches a vector of size bytes, unless it is there.
func (f *evidence) vector(ctx context.Context, name digest.Sum, what string, from []identity.Address, size int64) error {
	if !f.writer.Has(verify.VectorFile(name)) {
		b, err := f.small(ctx, name, from, node.CheckVector(name), size, size)
		if err != nil {
			return f.miss(ctx, what, err)
		}
		if err := f.writer.Vector(name, b); err != nil {
			return err
		}
	}
	f.result.Vectors++
	return nil
}

func (f *evidence) units(ctx context.Context, r verify.Round, member identity.Address) error {
	commit, ok := r.Commits[member]
	if !ok || f.writer.Has(verify.UnitsFile(commit.Units)) {
		return nil
	}
	limit := int64(f.spec.Batch/f.spec.Unit) * int64(len(digest.Sum{}))
	b, err := f.small(ctx, commit.Units, []identity.Address{member}, unchecked, 0, limit)
	if err != nil {
		return f.miss(ctx, fmt.Sprintf("the unit hashes of %s in round %d", member, r.Closed.Round), err)
	}
	var sums []digest.Sum
	for ; len(b) >= len(digest.Sum{}); b = b[len(digest.Sum{}):] {
		sums = append(sums, digest.Sum(b))
	}
	if err := f.writer.Units(commit.Units, sums); err != nil {
		return f.miss(ctx, fmt.Sprintf("the unit hashes of %s in round %d", member, r.Closed.Round), err)
	}
	return nil
}

// unchecked leaves the check to the writer.
func unchecked(io.Reader) error { return nil }

// miss notes what no peer has: an auditor is told, and can check the rest.
func (f *evidence) miss(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.logger.Debug("an object is missing", "what", what, "error", err)
	f.result.Missing = append(f.result.Missing, what)
	return nil
}

func (f *evidence) shardManifest(ctx context.Context) error {
	if f.writer.Has(verify.ShardManifest) {
		return nil
	}
	b, err := f.small(ctx, f.spec.Shards, nil, node.CheckSHA256(f.spec.Shards), 0, shards.MaxManifestSize)
	if err != nil {
		return f.miss(ctx, "the manifest of the shards", err)
	}
	return f.writer.ShardManifest(b)
}

// small fetches an object into memory.
func (f *evidence) small(ctx context.Context, name digest.Sum, first []identity.Address, check node.Check, size, limit int64) ([]byte, error) {
	path := filepath.Join(f.temp, name.String())
	if err := f.host.Fetch(ctx, name, path, f.holders(first), check, size, limit, nil); err != nil {
		return nil, unavailableError{err}
	}
	defer os.Remove(path)
	return readSmall(path, limit)
}

// holders returns whom to ask for an object: those who made it, then everybody
// else who is known.
func (a *client) holders(first []identity.Address) []identity.Address {
	all := slices.Clone(first)
	for _, contact := range a.host.Contacts() {
		if !slices.Contains(all, contact.Address) {
			all = append(all, contact.Address)
		}
	}
	return all
}

// introduce connects to the given peers and learns from them where the others
// are.
func (a *client) introduce(ctx context.Context) {
	for _, peer := range a.peers {
		if err := a.host.Introduce(ctx, peer); err != nil {
			a.logger.Debug("could not ask who else is there", "peer", peer, "error", err)
		}
	}
}
