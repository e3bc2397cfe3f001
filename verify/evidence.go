package verify

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

const maxHeadFile = 64 << 10 // bytes

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

// Span returns what a member of the round's roster had to compute.
func (r Round) Span(member identity.Address) (run.Span, bool) {
	i := slices.Index(r.Open.Roster, member)
	if i < 0 || i >= len(r.Open.Spans) {
		return run.Span{}, false
	}
	return r.Open.Spans[i], true
}

// Evidence is a run's log, applied and found consistent, and what it says.
type Evidence struct {
	Dir         string
	ID          run.ID
	Spec        run.Spec
	Size        uint64 // records
	Root        digest.Sum
	View        state.View                    // at the end of the log
	Rounds      []Round                       // closed ones, in order, void ones too
	Checkpoints map[uint64]state.Checkpoint   // signed by k coordinators and not taken back, by round
	Authorised  map[uint64][]identity.Address // coordinators when each was signed, by round
	Signers     []identity.Address            // of the log's head
	Findings    []string                      // what else an auditor should know: halts, rewinds, equivocations

	head           run.Signed // one Head, by whom is not checked yet
	distrusted     map[uint64][]identity.Address
	open           *run.Open                       // round under way
	commits        map[identity.Address]run.Commit // of the round under way
	vectors, units map[digest.Sum]bool             // named by the log
	roots          []digest.Sum                    // of the log's first i+1 records
	coordinators   []identity.Address              // all that ever were
	members        []identity.Address              // all that ever were
}

// Open reads the Spec and the log of an evidence folder, applies every record
// and checks the coordinators' head over the last one. The error is a
// [*Failure], a [*Missing], or one of the disk.
func Open(id run.ID, dir string) (*Evidence, error) {
	e := &Evidence{
		Dir: dir, ID: id, Checkpoints: map[uint64]state.Checkpoint{}, Authorised: map[uint64][]identity.Address{},
		distrusted: map[uint64][]identity.Address{}, vectors: map[digest.Sum]bool{}, units: map[digest.Sum]bool{},
	}
	if err := checkLayout(dir); err != nil {
		return nil, err
	}
	if err := e.readSpec(); err != nil {
		return nil, err
	}
	if err := e.readHead(); err != nil {
		return nil, err
	}
	machine, err := e.readLog()
	if err != nil {
		return nil, err
	}
	e.Size, e.Root = machine.Log()
	e.View = machine.View()
	e.closeRounds()
	if err := e.checkHead(); err != nil {
		return nil, err
	}
	return e, nil
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

func (e *Evidence) readHead() error {
	b, err := e.read(HeadFile, maxHeadFile)
	if err != nil {
		return err
	}
	if e.head, err = run.ParseSigned(b); err != nil {
		return &Failure{e.path(HeadFile), err}
	}
	if _, ok := e.head.Statement.(run.Head); !ok {
		return refuse(e.path(HeadFile), "it holds a %s, not a Head", e.head.Statement.Kind())
	}
	return nil
}

func (e *Evidence) readLog() (*state.Machine, error) {
	f, err := e.openFile(LogFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	machine, err := state.New(e.Spec)
	if err != nil {
		return nil, &Failure{e.path(SpecFile), err}
	}
	e.know(machine.View())
	follower := state.Follow(machine)
	in := bufio.NewReaderSize(f, run.MaxRecordSize+1)
	for {
		line, err := in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err == io.EOF || errors.Is(err, bufio.ErrBufferFull) {
			return nil, refuse(e.path(LogFile), "record %d has no end within %d bytes: the file is cut or damaged", follower.Size(), run.MaxRecordSize)
		}
		if err != nil {
			return nil, err
		}
		entry, err := follower.Next(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			return nil, &Failure{e.path(LogFile), err}
		}
		e.note(entry, machine)
	}
	if err := follower.End(); err != nil {
		return nil, &Failure{e.path(LogFile), fmt.Errorf("%w; it has %d records, the coordinators signed a log of %d", err, follower.Size(), e.head.Statement.(run.Head).Index)}
	}
	return machine, nil
}

// note remembers what a record says. By the time it is noted, machine has
// applied the whole statement that the record belongs to.
func (e *Evidence) note(entry state.Entry, machine *state.Machine) {
	e.roots = append(e.roots, entry.Root)
	if s := entry.Statement; s != nil {
		e.noteCommit(*s)
		return
	}
	switch t := entry.Transition.(type) {
	case run.Open:
		e.follow(t.State)
		e.open, e.commits = &t, map[identity.Address]run.Commit{}
	case run.Closed:
		e.vectors[t.Reduced] = true
		e.Rounds = append(e.Rounds, Round{Open: *e.open, Closed: t, Commits: e.commits, LogSize: entry.Index + 1, LogRoot: entry.Root})
	case run.Rewound:
		e.rewind(t.Round)
		e.find(entry)
	case run.CheckpointSigned:
		view := machine.View()
		for _, c := range view.Signed {
			if c.Round == t.Round {
				e.Checkpoints[t.Round] = c
				e.Authorised[t.Round], e.distrusted[t.Round] = view.Coordinators, view.Distrusted
			}
		}
	case run.Changed:
		e.know(machine.View())
	case run.Halted, run.Equivocation:
		e.find(entry)
	}
}

// find notes a record that an auditor should know of.
func (e *Evidence) find(entry state.Entry) {
	e.Findings = append(e.Findings, fmt.Sprintf("record %d: %s", entry.Index, entry.Bytes))
}

// know remembers who has a role.
func (e *Evidence) know(v state.View) {
	e.coordinators = append(e.coordinators, v.Coordinators...)
	for _, m := range v.Members {
		e.members = append(e.members, m.Address)
	}
}

// noteCommit remembers a Commit: the first of each member of a round is the one
// that counts.
func (e *Evidence) noteCommit(s run.Signed) {
	commit, ok := s.Statement.(run.Commit)
	if !ok || e.open == nil || commit.Round != e.open.Round {
		return
	}
	e.vectors[commit.Contribution], e.units[commit.Units] = true, true
	signers, err := s.Signers(e.ID)
	if err != nil {
		return // not possible: the state machine has recovered them
	}
	if _, twice := e.commits[signers[0]]; !twice {
		e.commits[signers[0]] = commit
	}
}

// rewind takes back what came after a checkpoint.
func (e *Evidence) rewind(round uint64) {
	for i := range e.Rounds {
		e.Rounds[i].Void = e.Rounds[i].Void || e.Rounds[i].Closed.Round > round
	}
	for r := range e.Checkpoints {
		if r > round {
			delete(e.Checkpoints, r)
		}
	}
}

// follow notes the state root that the next OPEN gives to the last closed round
// that is not void.
func (e *Evidence) follow(root digest.Sum) {
	for i := len(e.Rounds) - 1; i >= 0; i-- {
		if !e.Rounds[i].Void {
			e.settle(&e.Rounds[i], root)
			return
		}
	}
}

// settle notes the state root after a round. Two different ones cannot both be
// right.
func (e *Evidence) settle(r *Round, root digest.Sum) {
	if !r.Next.IsZero() && r.Next != root {
		e.Findings = append(e.Findings, fmt.Sprintf("the log gives two states after round %d: %s and %s", r.Closed.Round, r.Next, root))
	}
	r.Next = root
}

// closeRounds takes the states after rounds from signed checkpoints too.
func (e *Evidence) closeRounds() {
	for i := range e.Rounds {
		if c, ok := e.Checkpoints[e.Rounds[i].Closed.Round]; ok {
			e.settle(&e.Rounds[i], c.State)
		}
	}
}

// checkHead checks the signatures over the whole log: k distinct coordinators
// of its end, and nobody else.
func (e *Evidence) checkHead() error {
	head := e.head.Statement.(run.Head)
	if head.Index != e.Size {
		return refuse(e.path(LogFile), "it has %d records; the coordinators signed a log of %d: records at its end were dropped or added", e.Size, head.Index)
	}
	if head.Root != e.Root {
		return refuse(e.path(LogFile), "its root is %s; the coordinators signed %s", e.Root, head.Root)
	}
	var err error
	all := e.View.Coordinators
	if e.Signers, err = e.quorum(e.head, all, trusted(all, e.View.Distrusted), len(all)); err != nil {
		return &Failure{e.path(HeadFile), err}
	}
	return nil
}

// quorum returns which of the voters signed, if they are at least k of n, and
// nobody signed who is not known to have had the role.
func (e *Evidence) quorum(signed run.Signed, known, voters []identity.Address, n int) ([]identity.Address, error) {
	signers, err := signed.Signers(e.ID)
	if err != nil {
		return nil, err
	}
	if err := among(signers, known, "a coordinator of this run at this point of its log"); err != nil {
		return nil, err
	}
	counted := both(signers, voters)
	if k := run.Threshold(n); len(counted) < k {
		return nil, fmt.Errorf("%d of %d coordinators signed, want at least %d", len(counted), n, k)
	}
	return counted, nil
}

// trusted returns the coordinators that have not been caught lying.
func trusted(coordinators, distrusted []identity.Address) []identity.Address {
	return slices.DeleteFunc(slices.Clone(coordinators), func(a identity.Address) bool { return slices.Contains(distrusted, a) })
}

// both returns the addresses of list that are among allowed.
func both(list, allowed []identity.Address) []identity.Address {
	return slices.DeleteFunc(slices.Clone(list), func(a identity.Address) bool { return !slices.Contains(allowed, a) })
}

func among(signers, allowed []identity.Address, what string) error {
	for _, a := range signers {
		if !slices.Contains(allowed, a) {
			return fmt.Errorf("%s signed, but is not %s", a, what)
		}
	}
	return nil
}
