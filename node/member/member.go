package member

import (
	"slices"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// maxWrong is how often a state may turn out wrong before the machine gives up.
const maxWrong = 3

// Member is one member's state. The zero Member is not usable; a Member must
// not be used by two goroutines at once.
type Member struct {
	log  picture
	live bool

	held    *held // nil: none, or one in doubt
	commit  *run.Commit
	vector  bool // the contribution that commit names is on disk
	result  *run.Result
	reduced []digest.Sum
	written []Checkpoint

	job     Action // under way; nil if none
	lastJob uint64
	blocked bool // a job failed: wait for Retry
	wrong   int  // how often the state after round wrongAt was not what the log names
	wrongAt uint64
	ended   bool // Finish or Diverged was given

	ready       run.Ready       // the last one submitted
	sent        run.Commit      // the last one submitted
	resulted    run.Result      // the last one submitted
	faulted     run.Result      // round and attempt of the last ring that broke
	checkpoints []uint64        // rounds whose Checkpoint was submitted
	checkpoint  *run.Checkpoint // the last one signed before this process began
}

// held is the state in memory: that after a closed round.
type held struct {
	round uint64
	root  digest.Sum
	own   bool // contributed to the round and applied it
}

// New returns a member of a run that has seen nothing of its log.
func New(self identity.Address, spec run.Spec, disk Disk) *Member {
	return &Member{
		log: newPicture(self, spec), commit: disk.Commit, vector: disk.Vector, result: disk.Result, checkpoint: disk.Checkpoint,
		reduced: slices.Clone(disk.Reduced), written: slices.Clone(disk.Checkpoints),
	}
}

// Step takes an event and returns what is to be done now.
func (m *Member) Step(e Event) []Action {
	var out []Action
	switch e := e.(type) {
	case Covered:
		for _, entry := range e.Entries {
			out = append(out, m.log.see(entry)...)
		}
		m.live = m.live || e.Live
		m.forget(out)
	case Retry:
		m.blocked = false
	default:
		out = m.complete(e)
	}
	if !m.live || m.ended {
		return out
	}
	return append(out, m.act()...)
}

// forget follows what the log said must go.
func (m *Member) forget(actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case DropContribution:
			if m.commit != nil && m.commit.Round == a.Round {
				m.vector = false
			}
		case Prune:
			m.written = slices.DeleteFunc(m.written, func(c Checkpoint) bool { return c.Round < a.Round })
			m.reduced = slices.DeleteFunc(m.reduced, func(d digest.Sum) bool { return !m.needed(d) })
		}
	}
	if m.log.excluded {
		m.log.excluded, m.held = false, nil
	}
	other := m.log.ready
	if m.log.unheard || other.Round == m.ready.Round && other.Attempt == m.ready.Attempt && other.State != m.ready.State {
		m.ready = run.Ready{}
	}
	m.log.unheard, m.log.ready = false, run.Ready{}
}

// needed reports whether a reduced vector may still be applied.
func (m *Member) needed(d digest.Sum) bool {
	return m.result != nil && m.result.Reduced == d ||
		slices.ContainsFunc(m.log.closed, func(c closing) bool { return c.Reduced == d })
}

// complete takes the answer to the job under way; any other is ignored.
func (m *Member) complete(e Event) []Action {
	switch job := m.job.(type) {
	case Restore:
		if e, ok := e.(Restored); ok && e.Job == job.Job {
			m.job = nil
			m.held = &held{round: job.Checkpoint.Round, root: e.Root}
			if c := job.Checkpoint; !c.Local && c.Round > 0 {
				c.Local = true
				m.written = append(m.written, c)
			}
			return nil
		}
	case FetchReduced:
		if e, ok := e.(Fetched); ok && e.Job == job.Job {
			m.job = nil
			m.reduced = append(m.reduced, job.Digest)
			return nil
		}
	case Apply:
		if e, ok := e.(Applied); ok && e.Job == job.Job {
			m.job = nil
			m.held = &held{job.Round, e.Root, !job.Observer}
			return nil
		}
	case Compute:
		if e, ok := e.(Computed); ok && e.Job == job.Job {
			m.job = nil
			m.vector = true
			m.commit = &run.Commit{
				Round: job.Round, State: job.State, Contribution: e.Contribution, Units: e.Units,
				Targets: e.Targets, Loss: e.Loss, Rejected: e.Rejected,
			}
			return nil
		}
	case Ring:
		return m.completeRing(job, e)
	case WriteCheckpoint:
		if e, ok := e.(CheckpointWritten); ok && e.Job == job.Job {
			m.job = nil
			m.written = append(m.written, Checkpoint{Round: job.Round, State: job.State, Manifest: e.Manifest, Local: true})
			return nil
		}
	}
	return m.failed(e)
}

func (m *Member) completeRing(job Ring, e Event) []Action {
	switch e := e.(type) {
	case RingDone:
		if e.Job == job.Job {
			m.job = nil
			m.reduced = append(m.reduced, e.Reduced)
			m.result = &run.Result{Round: job.Round, Attempt: job.Attempt, Contributors: job.Digest, Reduced: e.Reduced}
			return nil
		}
	case RingFailed:
		if e.Job == job.Job {
			m.job, m.faulted = nil, run.Result{Round: job.Round, Attempt: job.Attempt}
			return []Action{Submit{run.Fault{Round: job.Round, Attempt: job.Attempt, Accused: e.Accused, Phase: e.Phase, Step: e.Step}}}
		}
	}
	return m.failed(e)
}

// failed ends the job under way without a result.
func (m *Member) failed(e Event) []Action {
	f, ok := e.(Failed)
	if !ok || m.job == nil || f.Job != jobOf(m.job) {
		return nil
	}
	switch m.job.(type) {
	case Apply, Restore:
		m.held = nil // what is in memory may be half of each
	}
	m.job, m.blocked = nil, true
	return nil
}

// jobOf returns a job's number.
func jobOf(a Action) uint64 {
	switch a := a.(type) {
	case Restore:
		return a.Job
	case FetchReduced:
		return a.Job
	case Apply:
		return a.Job
	case Compute:
		return a.Job
	case Ring:
		return a.Job
	case WriteCheckpoint:
		return a.Job
	}
	return 0
}
