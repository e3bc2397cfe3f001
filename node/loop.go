package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

const (
	retryAfter     = time.Second            // after a job failed
	followAgain    = 250 * time.Millisecond // after a stream broke
	introduceEvery = 5 * time.Second
	// sameKeyPatience is how long a coordinator may take a process that has
	// just died for a second one under its key.
	sameKeyPatience = holderHeard + 2*reportEvery
)

// errFinished ends the loop when the run is over and nobody needs this process.
var errFinished = errors.New("the run is finished")

// message is something a followed peer said; number is that of its record.
type message struct {
	from   identity.Address
	turn   uint64 // which of follow's streams
	number uint64
	Followed
}

// loop is the one goroutine that knows the log and the member. It starts the
// worker when ready says that it can work; until then tasks queue up.
func (n *Node) loop(ctx context.Context, ready <-chan error, all *sync.WaitGroup) error {
	l := &loop{Node: n, ctx: ctx, running: map[uint64]context.CancelFunc{}, glance: time.After(lookEvery)}
	defer func() {
		for _, cancel := range l.running {
			cancel()
		}
		close(n.tasks)
	}()
	for {
		var err error
		select {
		case m := <-n.inbox:
			err = l.take(m)
		case e := <-n.done:
			err = l.step(e)
		case <-l.retry:
			l.retry = nil
			err = l.step(member.Retry{})
		case err = <-ready:
			if err == nil {
				ready, l.working = nil, true
				all.Go(func() { n.worker.run(n.tasks, n.done) })
			}
		case <-l.glance:
			l.glance = time.After(lookEvery)
			err = l.last(time.Now())
		case err = <-n.broken:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case errors.Is(err, errFinished):
			return nil
		case err != nil:
			return err
		}
	}
}

// loop's fields belong to the goroutine that runs it.
type loop struct {
	*Node
	ctx     context.Context
	running map[uint64]context.CancelFunc // by job
	retry   <-chan time.Time
	signed  uint64 // round of the checkpoint whose signatures were written last
	known   uint64 // size of the followed peer's log, as it said last
	asked   bool   // known is set
	live    bool   // the member was told that it has seen all there was
	headed  uint64 // size whose head was published last
	glance  <-chan time.Time
	ending  ending
	working bool // the worker runs
	told    bool // that this key is no member
}

// take takes one thing a peer said.
func (l *loop) take(m message) error {
	var err error
	switch {
	case m.Status != nil:
		l.known, l.asked = m.Status.Size, true
		l.log.lead(m.Status.Leader, m.Status.Over)
		l.setFollowed(m.from)
	case m.Head != nil:
		err = l.chain.head(*m.Head)
	default:
		err = l.chain.take(m.number, m.Record)
	}
	if errors.As(err, new(*state.Fork)) {
		return fmt.Errorf("the run's log has two versions, this node goes no further: %w", err)
	}
	if err != nil {
		l.logger.Warn("a coordinator's records do not follow", "from", m.from, "error", err)
		l.left.Store(m.turn)
		return nil
	}
	return l.cover()
}

// cover hands the member what has become covered, and publishes the head that
// covers it.
func (l *loop) cover() error {
	entries, err := l.chain.cover()
	if err != nil {
		return err
	}
	size := l.chain.records.Len()
	if head, ok := l.chain.heads.Signed(size); ok && l.headed != size {
		l.headed = size
		l.log.add(head)
	}
	live := l.asked && size >= l.known
	if len(entries) == 0 && (l.live || !live) {
		return nil
	}
	l.live = live
	l.look()
	l.tellStranger()
	return l.step(member.Covered{Entries: entries, Live: live})
}

// tellStranger says once, when all there is of the log has been seen, that this
// key takes no part, and what to do.
func (l *loop) tellStranger() {
	self := l.cfg.Key.Address()
	isMember := func(m state.Member) bool { return m.Address == self }
	if !l.live || l.told || slices.ContainsFunc(l.chain.view().Members, isMember) {
		return
	}
	l.told = true
	l.logger.Warn("this key is no member of the run and takes no part until its coordinators admit it, each with: allmend members admit "+self.String(), "run", l.id.Short())
}

// look takes a new picture of the run for those who ask.
func (n *Node) look() {
	v := n.chain.view()
	if n.host != nil {
		n.host.follow(n.cfg.Spec, v)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Run, n.status.Self = n.id, n.cfg.Key.Address()
	n.status.View, n.status.Covered = v, n.chain.records.Len()
	maps.Copy(n.consumed, n.chain.consumed)
}

// forget drops what is only needed to write checkpoints of rounds before one.
func (l *loop) forget(before uint64) {
	old := func(round, _ uint64) bool { return round < before }
	maps.DeleteFunc(l.chain.consumed, old)
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.consumed, old)
}

func (n *Node) setFollowed(a identity.Address) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Followed = a
}

// step tells the member what happened and does what it asks for.
func (l *loop) step(e member.Event) error {
	l.end(answered(e))
	if failed, ok := e.(member.Failed); ok {
		l.retry, l.ending.failure = time.After(retryAfter), failed.Reason
	} else if answered(e) > 0 {
		l.ending.failure = ""
	}
	for _, a := range l.member.Step(e) {
		if err := l.do(a); err != nil {
			return err
		}
	}
	return nil
}

// answered returns the number of the job that an event answers; 0 if none.
func answered(e member.Event) uint64 {
	switch e := e.(type) {
	case member.Restored:
		return e.Job
	case member.Fetched:
		return e.Job
	case member.Applied:
		return e.Job
	case member.Computed:
		return e.Job
	case member.RingDone:
		return e.Job
	case member.RingFailed:
		return e.Job
	case member.CheckpointWritten:
		return e.Job
	case member.Failed:
		return e.Job
	}
	return 0
}

func (l *loop) end(job uint64) {
	if cancel := l.running[job]; cancel != nil {
		cancel()
		delete(l.running, job)
	}
}

func (l *loop) do(a member.Action) error {
	switch a := a.(type) {
	case member.Submit:
		return l.submit(a.Statement)
	case member.Cancel:
		l.end(a.Job)
	case member.DropContribution:
		l.store.dropContribution(a.Round)
	case member.Prune:
		l.store.prune(a.Round)
		l.forget(a.Round)
		return l.writeSignatures()
	case member.Halted:
		l.logger.Error("the run is halted until its coordinators resume it", "reason", a.Reason)
	case member.Removed:
		l.logger.Error("this key takes no part in the run", "reason", a.Reason)
	case member.Diverged:
		return fmt.Errorf("this machine cannot go on: %s", a.Reason)
	case member.Finish:
		return l.finish(a)
	default:
		ctx, cancel := context.WithCancel(l.ctx)
		l.running[jobNumber(a)] = cancel
		l.tasks <- task{ctx, a}
	}
	return nil
}

func (l *loop) finish(a member.Finish) error {
	if err := l.writeSignatures(); err != nil {
		return err
	}
	l.mu.Lock()
	l.status.Finished = true
	l.mu.Unlock()
	last := l.chain.view().Signed
	c := last[len(last)-1]
	dir, _ := l.store.checkpointAt(member.Checkpoint{Round: c.Round, Manifest: c.Manifest})
	l.logger.Info("the run is finished", "round", a.Round, "result", dir)
	l.pulse.begin(phaseFinished, a.Round)
	l.ending.finished = time.Now()
	return nil
}

// Result returns the folder of the newest signed checkpoint on this disk.
func (n *Node) Result() (string, bool) {
	n.mu.Lock()
	signed := n.status.View.Signed
	n.mu.Unlock()
	for _, c := range slices.Backward(signed) {
		if dir, ok := n.store.checkpointAt(member.Checkpoint{Round: c.Round, Manifest: c.Manifest}); ok {
			return dir, true
		}
	}
	return "", false
}

// writeSignatures puts the signatures of the last signed checkpoint beside it.
func (l *loop) writeSignatures() error {
	for _, c := range l.chain.view().Signed {
		if c.Round <= l.signed {
			continue
		}
		if err := l.store.sign(c); err != nil {
			return fmt.Errorf("signatures of the checkpoint of round %d: %w", c.Round, err)
		}
		if _, ok := l.store.checkpointAt(member.Checkpoint{Round: c.Round, Manifest: c.Manifest}); ok {
			l.signed = c.Round
		}
	}
	return nil
}

// submit signs a statement, makes it durable, and hands it to the speaker.
func (l *loop) submit(st run.Statement) error {
	s, err := run.Sign(l.id, l.cfg.Key, st)
	if err == nil {
		err = l.store.say(s)
	}
	if err != nil {
		return err
	}
	select {
	case l.speech <- s:
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// introduce keeps the book up to date.
func (n *Node) introduce(ctx context.Context) {
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, introduceEvery)
		n.host.IntroduceAll(asking)
		if n.cfg.Shards == "" {
			n.host.connectAll(asking) // blocks may be anywhere
		}
		cancel()
		select {
		case <-time.After(introduceEvery):
		case <-ctx.Done():
		}
	}
}

// reportAll reports to every coordinator: whoever leads listens.
func (n *Node) reportAll(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	reporting := map[identity.Address]bool{}
	for ctx.Err() == nil {
		for _, c := range n.coordinators() {
			if !reporting[c] {
				reporting[c] = true
				all.Go(func() { n.reportTo(ctx, c) })
			}
		}
		select {
		case <-time.After(introduceEvery):
		case <-ctx.Done():
		}
	}
}

func (n *Node) reportTo(ctx context.Context, c identity.Address) {
	since := time.Now()
	for ctx.Err() == nil {
		err := n.host.report(ctx, c, n.process, n.pulse.get)
		if !errors.As(err, new(*SameKeyError)) {
			since = time.Now()
		} else if time.Since(since) > sameKeyPatience {
			select {
			case n.broken <- err:
			default: // another coordinator said so first
			}
			return
		}
		if ctx.Err() == nil {
			n.logger.Debug("no reports to a coordinator", "coordinator", c, "error", err)
		}
		select {
		case <-time.After(reportEvery):
		case <-ctx.Done():
		}
	}
}
