package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/allmend-network/allmend/allreduce"
	"github.com/allmend-network/allmend/allreduce/codec"
	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// ringGrace is how long a member waits for the log to say why a neighbour gave
// up a ring.
const ringGrace = 15 * time.Second

// worker does the jobs that a member asks for, one at a time, in order. Its
// goroutine owns state; the rest is set before it starts.
type worker struct {
	host    *Host
	spec    run.Spec
	id      run.ID
	store   *store
	trainer *trainer.Trainer
	reader  *shards.Reader
	rings   *rings
	logger  *slog.Logger
	pulse   *pulse
	// sources returns whom to ask for objects, those in first before others.
	sources func(first []identity.Address) []identity.Address
	// consumed returns the samples consumed up to and with a closed round.
	consumed func(round uint64) uint64

	state *checkpoint.State // held; nil if none
}

// task is a job on its way to the worker.
type task struct {
	ctx context.Context // ends when the member cancels the job
	job member.Action
}

// run does tasks until they end; it answers each, on done, with its event.
func (w *worker) run(tasks <-chan task, done chan<- member.Event) {
	for t := range tasks {
		event, err := w.do(t.ctx, t.job)
		w.pulse.rest()
		if err != nil {
			if t.ctx.Err() == nil {
				w.logger.Warn("a step of the round failed; it is tried again", "job", fmt.Sprintf("%T", t.job), "error", err)
			}
			event = member.Failed{Job: jobNumber(t.job), Reason: err.Error()}
		}
		done <- event
	}
}

func jobNumber(job member.Action) uint64 {
	switch j := job.(type) {
	case member.Restore:
		return j.Job
	case member.FetchReduced:
		return j.Job
	case member.Apply:
		return j.Job
	case member.Compute:
		return j.Job
	case member.Ring:
		return j.Job
	case member.WriteCheckpoint:
		return j.Job
	}
	return 0
}

func (w *worker) do(ctx context.Context, job member.Action) (member.Event, error) {
	switch j := job.(type) {
	case member.Restore:
		return w.restore(ctx, j)
	case member.FetchReduced:
		return w.fetchReduced(ctx, j)
	case member.Apply:
		return w.apply(j)
	case member.Compute:
		return w.compute(ctx, j)
	case member.Ring:
		return w.ring(ctx, j)
	case member.WriteCheckpoint:
		return w.writeCheckpoint(j)
	}
	return nil, fmt.Errorf("unknown job %T", job)
}

func (w *worker) restore(ctx context.Context, j member.Restore) (member.Event, error) {
	c := j.Checkpoint
	w.pulse.begin(phaseSync, c.Round)
	dir, ok := w.store.checkpointAt(c)
	if !ok {
		w.logger.Info("fetching a checkpoint", "round", c.Round, "state", c.State)
		if err := w.host.FetchCheckpoint(ctx, c, dir, w.sources(nil), w.pulse.moved); err != nil {
			return nil, err
		}
	}
	state, _, m, err := checkpoint.Read(dir)
	if err != nil {
		err = fmt.Errorf("restoring %s: %w", dir, err)
		if c.Round > 0 {
			err = errors.Join(err, os.RemoveAll(dir)) // another member has it
		}
		return nil, err
	}
	if c.Round == 0 && m.State != w.spec.InitialState {
		return nil, fmt.Errorf("%s holds state %s, the run starts from %s; give --initial the folder that `allmend run init` wrote", dir, m.State.Short(), w.spec.InitialState.Short())
	}
	if err := w.store.shelve(dir); err != nil {
		return nil, err
	}
	w.state = state
	w.logger.Info("restored a checkpoint", "round", c.Round, "state", m.State)
	return member.Restored{Job: j.Job, Root: state.Root()}, nil
}

func (w *worker) fetchReduced(ctx context.Context, j member.FetchReduced) (member.Event, error) {
	w.pulse.begin(phaseSync, j.Round)
	size := w.vectorSize()
	path := w.store.place(reducedDir, j.Round, j.Digest)
	err := w.host.Fetch(ctx, j.Digest, path, w.sources(j.From), CheckVector(j.Digest), size, size, w.pulse.moved)
	if err != nil {
		return nil, err
	}
	w.store.add(j.Digest, path)
	w.logger.Info("fetched a reduced vector", "round", j.Round)
	return member.Fetched{Job: j.Job}, nil
}

func (w *worker) vectorSize() int64 { return 4 * int64(w.spec.Model.Params()) }

func (w *worker) vector(name digest.Sum) ([]float32, error) {
	b, err := w.store.read(name, w.vectorSize())
	if err != nil {
		return nil, err
	}
	return trainer.Vector(b, w.spec.Model.Params())
}

func (w *worker) apply(j member.Apply) (member.Event, error) {
	w.pulse.begin(phaseApply, j.Round)
	reduced, err := w.vector(j.Reduced)
	if err != nil {
		return nil, err
	}
	if err := trainer.Apply(w.spec, w.state, reduced, j.Targets, j.Scalars); err != nil {
		return nil, fmt.Errorf("applying round %d: %w", j.Round, err)
	}
	return member.Applied{Job: j.Job, Root: w.state.Root()}, nil
}

func (w *worker) compute(ctx context.Context, j member.Compute) (member.Event, error) {
	w.pulse.begin(phaseCompute, j.Round)
	var samples []uint64
	for _, p := range run.Positions(j.Span.Ranges) {
		samples = append(samples, run.Sample(w.spec, p))
	}
	if err := w.reader.Prefetch(ctx, samples); err != nil {
		return nil, fmt.Errorf("samples of round %d: %w", j.Round, err)
	}
	c, err := w.trainer.Contribute(ctx, w.state, samples, func(units int) {
		w.pulse.set(func(p *coordinator.Progress) { p.Units = uint64(units) })
	})
	if err != nil {
		return nil, fmt.Errorf("contribution to round %d: %w", j.Round, err)
	}
	commit := c.Commit(j.Round, j.State)
	var units []byte
	for _, u := range c.Units {
		units = append(units, u[:]...)
	}
	if err := w.store.put(unitsDir, j.Round, commit.Units, units); err != nil {
		return nil, err
	}
	if err := w.store.put(contributionsDir, j.Round, commit.Contribution, trainer.Bytes(c.Vector)); err != nil {
		return nil, err
	}
	return member.Computed{
		Job: j.Job, Contribution: commit.Contribution, Units: commit.Units,
		Targets: commit.Targets, Loss: commit.Loss, Rejected: commit.Rejected,
	}, nil
}

func (w *worker) ring(ctx context.Context, j member.Ring) (member.Event, error) {
	w.pulse.begin(phaseRing, j.Round)
	commit, err := said[run.Commit](w.store)
	if err != nil {
		return nil, err
	}
	if commit == nil || commit.Round != j.Round {
		return nil, fmt.Errorf("no contribution to round %d is on this disk", j.Round)
	}
	src, err := w.vector(commit.Contribution)
	if err != nil {
		return nil, err
	}
	dst := make([]float32, len(src))
	own := allreduce.Hello{Run: w.id, Round: j.Round, Attempt: j.Attempt, Contributors: j.Digest, Rank: uint32(j.Rank)}
	cfg := allreduce.Config{Codec: codec.F32{}, Progress: func(g allreduce.Progress) { w.pulse.ring(j, g) }}
	if err := w.host.reduce(ctx, w.rings, own, j.Contributors, cfg, dst, src); err != nil {
		return w.ringFailed(ctx, j, err)
	}
	w.pulse.begin(phaseKeep, j.Round)
	name := trainer.Root(dst)
	if err := w.store.put(reducedDir, j.Round, name, trainer.Bytes(dst)); err != nil {
		return nil, err
	}
	return member.RingDone{Job: j.Job, Reduced: name}, nil
}

// ringFailed says whom a broken ring is to be blamed on. A neighbour that gave
// up with a reason is not to blame: the log will say who is, and end the job.
func (w *worker) ringFailed(ctx context.Context, j member.Ring, err error) (member.Event, error) {
	var there *neighbourError
	var broke *allreduce.PeerError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, new(*allreduce.ClosedError)):
		w.logger.Info("a neighbour left the ring", "round", j.Round, "attempt", j.Attempt, "reason", err)
		select {
		case <-ctx.Done():
		case <-time.After(ringGrace):
		}
		return nil, err
	case errors.As(err, &there):
		w.logger.Warn("ring broken", "round", j.Round, "attempt", j.Attempt, "error", err)
		return member.RingFailed{Job: j.Job, Accused: there.neighbour, Phase: "open", Step: 0}, nil
	case errors.As(err, &broke):
		w.logger.Warn("ring broken", "round", j.Round, "attempt", j.Attempt, "error", err)
		return member.RingFailed{Job: j.Job, Accused: j.Contributors[broke.Rank], Phase: broke.Phase.String(), Step: uint64(broke.Step)}, nil
	}
	return nil, err
}

func (w *worker) writeCheckpoint(j member.WriteCheckpoint) (member.Event, error) {
	w.pulse.begin(phaseCheckpoint, j.Round)
	tokenizer, err := w.tokenizer()
	if err != nil {
		return nil, err
	}
	m := checkpoint.Manifest{
		Run: w.id, Round: j.Round, Parent: j.Parent, Tokenizer: w.spec.Tokenizer, Shards: w.spec.Shards,
		Sequences: w.consumed(j.Round), Goldfish: w.spec.Goldfish, Profile: w.spec.Profile, LogSize: j.LogSize, LogRoot: j.LogRoot,
	}
	// The folder's name is the manifest's digest, known when it is written.
	temp, err := os.MkdirTemp(w.store.dir, checkpointsDir+unfinished+"*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	name, _, err := checkpoint.Write(temp+"/whole", w.state, tokenizer, m)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of round %d: %w", j.Round, err)
	}
	dir := w.store.place(checkpointsDir, j.Round, name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(temp+"/whole", dir), w.store.sync(checkpointsDir), w.store.shelve(dir)); err != nil {
		return nil, fmt.Errorf("checkpoint of round %d: %w", j.Round, err)
	}
	w.logger.Info("wrote a checkpoint", "round", j.Round, "manifest", name, "folder", dir)
	return member.CheckpointWritten{Job: j.Job, Manifest: name}, nil
}

// tokenizer reads the run's tokenizer.json, which is in every checkpoint.
func (w *worker) tokenizer() ([]byte, error) {
	path, ok := w.store.Path(w.spec.Tokenizer)
	if !ok {
		return nil, fmt.Errorf("tokenizer %s is not on this disk", w.spec.Tokenizer.Short())
	}
	b, err := os.ReadFile(path)
	if err == nil && digest.Of(b) != w.spec.Tokenizer {
		err = fmt.Errorf("%s is damaged: its SHA-256 is not %s", path, w.spec.Tokenizer)
	}
	return b, err
}
