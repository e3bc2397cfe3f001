package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// The files of an evidence folder, beside the folders of checkpoints, vectors
// and units.
const (
	SpecFile = "spec.json"
	LogFile  = "log.jsonl"
	HeadFile = "head.json"
)

const (
	fetchHint   = "allmend run fetch writes it"
	maxHeadFile = 64 << 10 // bytes
)

// CheckpointDir returns the folder of the checkpoint after a round, and
// VectorFile and UnitsFile the files of a vector and of a contribution's unit
// hashes, inside an evidence folder.
func CheckpointDir(round uint64) string {
	return filepath.Join("checkpoints", fmt.Sprintf("%08d", round))
}

// VectorFile: see [CheckpointDir].
func VectorFile(name digest.Sum) string { return filepath.Join("vectors", name.String()+".f32") }

// UnitsFile: see [CheckpointDir].
func UnitsFile(name digest.Sum) string { return filepath.Join("units", name.String()) }

// Round is a closed round as the log tells it.
type Round struct {
	Open    run.Open
	Closed  run.Closed
	Commits map[identity.Address]run.Commit // of the roster
	Void    bool                            // taken back by a Rewind
	Next    digest.Sum                      // state root after it, from the next OPEN or a checkpoint; zero if the log does not say
	LogSize uint64                          // records up to and with CLOSED
	LogRoot digest.Sum
}

// Evidence is a run's log, applied and found consistent, and what it says.
type Evidence struct {
	Dir         string
	ID          run.ID
	Spec        run.Spec
	Size        uint64 // records
	Root        digest.Sum
	View        state.View                      // at the end of the log
	Rounds      []Round                         // closed ones, in order, void ones too
	Checkpoints map[uint64]state.Checkpoint     // signed by k coordinators, by round
	Authorised  map[uint64][]identity.Address   // coordinators when each was signed, by round
	Signers     []identity.Address              // of the log's head
	Findings    []string                        // what else an auditor should know: halts, equivocations
	openCommits map[identity.Address]run.Commit // of the round under way
	open        *run.Open
}

// Open reads the Spec and the log of an evidence folder, applies every record
// and checks the coordinators' head over the last one. The error is a
// [*Failure], a [*Missing], or one of the disk.
func Open(id run.ID, dir string) (*Evidence, error) {
	e := &Evidence{Dir: dir, ID: id, Checkpoints: map[uint64]state.Checkpoint{}, Authorised: map[uint64][]identity.Address{}}
	if err := e.readSpec(); err != nil {
		return nil, err
	}
	machine, err := e.readLog()
	if err != nil {
		return nil, err
	}
	e.Size, e.Root = machine.Log()
	e.View = machine.View()
	e.closeRounds()
	return e, e.checkHead()
}

func (e *Evidence) readSpec() error {
	b, err := e.read(SpecFile, run.MaxSpecSize)
	if err != nil {
		return err
	}
	if got := digest.Of(b); got != e.ID {
		return refuse(e.path(SpecFile), "it is the Spec of run %s, not of %s", got, e.ID)
	}
	if e.Spec, err = run.ParseSpec(b); err != nil {
		return &Failure{e.path(SpecFile), err}
	}
	return nil
}

func (e *Evidence) path(name string) string { return filepath.Join(e.Dir, name) }

// read reads a file of at most limit bytes.
func (e *Evidence) read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(e.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Missing{e.path(name), fetchHint}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, refuse(e.path(name), "it is larger than %d bytes", limit)
	}
	return b, nil
}

func (e *Evidence) readLog() (*state.Machine, error) {
	f, err := os.Open(e.path(LogFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Missing{e.path(LogFile), fetchHint}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	machine, err := state.New(e.Spec)
	if err != nil {
		return nil, &Failure{e.path(SpecFile), err}
	}
	follower := state.Follow(machine)
	in := bufio.NewReaderSize(f, run.MaxRecordSize+1)
	for {
		line, err := in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err != nil {
			return nil, refuse(e.path(LogFile), "record %d has no end within %d bytes: the file is cut or damaged", follower.Size(), run.MaxRecordSize)
		}
		entry, err := follower.Next(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			return nil, &Failure{e.path(LogFile), err}
		}
		e.note(entry, machine)
	}
	if err := follower.End(); err != nil {
		return nil, &Failure{e.path(LogFile), err}
	}
	return machine, nil
}

// note remembers what a record says. By the time it is noted, machine has
// applied the whole statement that the record belongs to.
func (e *Evidence) note(entry state.Entry, machine *state.Machine) {
	if s := entry.Statement; s != nil {
		if commit, ok := s.Statement.(run.Commit); ok && e.open != nil && commit.Round == e.open.Round {
			if signers, err := s.Signers(e.ID); err == nil {
				if _, twice := e.openCommits[signers[0]]; !twice {
					e.openCommits[signers[0]] = commit
				}
			}
		}
		return
	}
	switch t := entry.Transition.(type) {
	case run.Open:
		e.follow(t.State)
		e.open, e.openCommits = &t, map[identity.Address]run.Commit{}
	case run.Closed:
		e.Rounds = append(e.Rounds, Round{Open: *e.open, Closed: t, Commits: e.openCommits, LogSize: entry.Index + 1, LogRoot: entry.Root})
	case run.Rewound:
		for i := range e.Rounds {
			e.Rounds[i].Void = e.Rounds[i].Void || e.Rounds[i].Closed.Round > t.Round
		}
	case run.CheckpointSigned:
		view := machine.View()
		for _, c := range view.Signed {
			if c.Round == t.Round {
				e.Checkpoints[t.Round] = c
				e.Authorised[t.Round] = view.Coordinators
			}
		}
	case run.Halted, run.Equivocation:
		e.Findings = append(e.Findings, fmt.Sprintf("record %d: %s", entry.Index, entry.Bytes))
	}
}

// follow notes the state root that the next OPEN gives to the last closed round
// that is not void.
func (e *Evidence) follow(root digest.Sum) {
	for i := len(e.Rounds) - 1; i >= 0; i-- {
		if !e.Rounds[i].Void {
			e.Rounds[i].Next = root
			return
		}
	}
}

// closeRounds takes the states after rounds from signed checkpoints where no
// OPEN followed.
func (e *Evidence) closeRounds() {
	for i := range e.Rounds {
		if c, ok := e.Checkpoints[e.Rounds[i].Closed.Round]; ok && e.Rounds[i].Next.IsZero() {
			e.Rounds[i].Next = c.State
		}
	}
}

// checkHead checks the signatures over the whole log: k distinct coordinators
// of its end, and nobody else.
func (e *Evidence) checkHead() error {
	b, err := e.read(HeadFile, maxHeadFile)
	if err != nil {
		return err
	}
	what := e.path(HeadFile)
	var signed run.Signed
	if err := canonical.Unmarshal(b, &signed, maxHeadFile); err != nil {
		return &Failure{what, err}
	}
	head, ok := signed.Statement.(run.Head)
	if !ok {
		return refuse(what, "it holds a %s, not a Head", signed.Statement.Kind())
	}
	if head.Index != e.Size {
		return refuse(e.path(LogFile), "it has %d records; the coordinators signed a log of %d: records at its end were dropped or added", e.Size, head.Index)
	}
	if head.Root != e.Root {
		return refuse(e.path(LogFile), "its root is %s; the coordinators signed %s", e.Root, head.Root)
	}
	e.Signers, err = e.quorum(signed, e.View.Coordinators, e.View.Distrusted)
	if err != nil {
		return &Failure{what, err}
	}
	return nil
}

// quorum returns who signed, if they are k of the coordinators, trusted and
// distinct, and nobody else.
func (e *Evidence) quorum(signed run.Signed, coordinators, distrusted []identity.Address) ([]identity.Address, error) {
	signers, err := signed.Signers(e.ID)
	if err != nil {
		return nil, err
	}
	if err := among(signers, coordinators, "a coordinator of this run at this point of its log"); err != nil {
		return nil, err
	}
	for _, a := range signers {
		if contains(distrusted, a) {
			return nil, fmt.Errorf("%s signed, but was caught lying earlier in the log", a)
		}
	}
	if k := run.Threshold(len(coordinators)); len(signers) < k {
		return nil, fmt.Errorf("%d coordinators signed, want at least %d of %d", len(signers), k, len(coordinators))
	}
	return signers, nil
}

func among(signers, allowed []identity.Address, what string) error {
	for _, a := range signers {
		if !contains(allowed, a) {
			return fmt.Errorf("%s signed, but is not %s", a, what)
		}
	}
	return nil
}

func contains(list []identity.Address, a identity.Address) bool {
	for _, x := range list {
		if x == a {
			return true
		}
	}
	return false
}
