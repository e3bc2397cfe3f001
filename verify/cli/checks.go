package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
)

// Nothing that is computed here can answer this.
const lawful = "that the data is lawful, true or good: signatures prove who said what, and a replay that they did it"

// everything makes all checks that the folders allow. One that fails does not
// keep the others from being made.
func (c *command) everything(ctx context.Context) error {
	e, err := c.open()
	if err != nil || e == nil {
		return err
	}
	c.vectors(ctx, e)
	if err := c.checkCheckpoints(e, false); err != nil {
		return err
	}
	if c.shards == "" {
		c.notChecked("the shards and the training itself: --shards was not given")
		return c.end(e)
	}
	if _, err := c.checkShards(ctx, e, e.Spec.Shards); err != nil {
		c.wrong("shards", err)
		c.notChecked("the training itself: it needs the shards")
		return c.end(e)
	}
	if err := c.checkReplay(ctx, e); err != nil {
		c.wrong("replay", err)
	}
	return c.end(e)
}

// open makes the checks that all others rest on: Spec, log, head. It returns nil
// after it has reported that one of them does not hold.
func (c *command) open() (*verify.Evidence, error) {
	id, err := c.id()
	if err != nil {
		return nil, err
	}
	e, err := verify.Open(id, c.evidence)
	if err != nil {
		c.wrong("run", err)
		c.notChecked("anything else: nothing can be concluded from this evidence")
		c.finish()
		return nil, nil
	}
	s := e.Spec
	c.held("spec", map[string]any{"run": id, "name": s.Name, "parameters": s.Model.Params()},
		"run %s, %q: %d parameters, %d samples of %d tokens", id.Short(), s.Name, s.Model.Params(), s.Sequences, s.Sequence)
	c.held("log", map[string]any{"records": e.Size, "root": e.Root, "rounds": len(e.Rounds), "status": e.View.Status},
		"%d records, root %s; %d rounds closed, each transition is the one that follows; the run is %s", e.Size, e.Root.Short(), len(e.Rounds), e.View.Status)
	c.held("head", map[string]any{"signers": e.Signers, "coordinators": len(e.View.Coordinators)},
		"signed by %d of %d coordinators, %d must: %s", len(e.Signers), len(e.View.Coordinators), e.View.Threshold, addresses(e.Signers))
	for _, f := range e.Findings {
		c.note("log", f)
	}
	c.compareHeads(e)
	return e, nil
}

// vectors checks every vector and list of unit hashes in the evidence.
func (c *command) vectors(ctx context.Context, e *verify.Evidence) {
	bar := c.progress("vectors", -1, true)
	found, err := e.Objects(ctx, func(n int64) { bar.add(n) })
	bar.end()
	if err != nil {
		c.wrong("vectors", err)
		return
	}
	c.held("vectors", map[string]any{"vectors": found.Vectors, "units": found.Units, "bytes": found.Bytes},
		"%s and %s, %s: each is what its name in the log says", count(found.Vectors, "vector"), count(found.Units, "list of unit hashes"), count(found.Bytes, "byte"))
}

// compareHeads holds the heads that came another way against the log.
func (c *command) compareHeads(e *verify.Evidence) {
	for _, path := range c.heads {
		head, err := verify.ReadHead(path)
		if err == nil {
			err = e.Against(head)
		}
		if err != nil {
			c.wrong("head", err)
			continue
		}
		c.held("head", map[string]any{"file": path}, "%s tells the same history", path)
	}
	if len(c.heads) == 0 {
		c.notChecked("whether the coordinators showed others another history: compare head.json with what others fetched (--head)")
	}
}

func addresses(list []identity.Address) string {
	var short []string
	for _, a := range list {
		short = append(short, a.Short())
	}
	return strings.Join(short, ", ")
}

// end names what no check of this package covers, and finishes the report.
func (c *command) end(e *verify.Evidence) error {
	if e.View.Status != state.Finished {
		c.notChecked(fmt.Sprintf("whether the run went on after record %d: the log ends there, with the run %s", e.Size, e.View.Status))
	}
	c.notChecked(lawful)
	c.finish()
	return nil
}

// checkCheckpoints checks those in the evidence and those given. With needed,
// that there is none is an error.
func (c *command) checkCheckpoints(e *verify.Evidence, needed bool) error {
	dirs, err := e.CheckpointDirs()
	if err != nil {
		return err
	}
	seen := map[uint64]bool{}
	for _, round := range slices.Sorted(maps.Keys(dirs)) {
		m, ok := c.checkpoint(e, dirs[round])
		if ok && m.Round != round {
			c.wrong("checkpoint", &verify.Failure{What: dirs[round], Err: fmt.Errorf("it is the checkpoint of round %d", m.Round)})
		}
		seen[round] = true
	}
	for _, dir := range c.checkpoints {
		if m, ok := c.checkpoint(e, dir); ok {
			seen[m.Round] = true
		}
	}
	if needed && len(seen) == 0 && len(c.checkpoints) == 0 {
		c.wrong("checkpoint", &verify.Missing{What: "any checkpoint in " + c.evidence, Hint: "allmend run fetch writes the last two; --checkpoint names one elsewhere"})
	}
	var absent []uint64
	for _, round := range slices.Sorted(maps.Keys(e.Checkpoints)) {
		if !seen[round] {
			absent = append(absent, round)
		}
	}
	if len(absent) > 0 {
		c.notChecked("the checkpoints of " + ranges(absent) + ": signed in the log, but not here")
	}
	return nil
}

// checkpoint checks one folder and reports it.
func (c *command) checkpoint(e *verify.Evidence, dir string) (checkpoint.Manifest, bool) {
	_, m, err := e.Checkpoint(dir)
	if err != nil {
		c.wrong("checkpoint", err)
		return m, false
	}
	facts := map[string]any{"round": m.Round, "step": m.Step, "state": m.State, "folder": dir}
	if m.Round == 0 {
		c.held("checkpoint", facts, "the state that the run starts from, %s, as the Spec says", m.State.Short())
		return m, true
	}
	s, err := checkpoint.ReadSignatures(dir)
	if err != nil {
		c.wrong("checkpoint", err)
		return m, false
	}
	signed := e.Checkpoints[m.Round]
	facts["members"], facts["coordinators"] = len(s.Members), len(s.Coordinators)
	c.held("checkpoint", facts, "round %d, step %d, state %s: %d files as in the log, signed by %s, most of its %s among them, and by %s",
		m.Round, m.Step, m.State.Short(), len(m.Files), count(len(s.Members), "member"), count(len(signed.Contributors), "contributor"), count(len(s.Coordinators), "coordinator"))
	return m, true
}

// checkShards checks the shard folder against the digest of its manifest and,
// unless it is nil, a run.
func (c *command) checkShards(ctx context.Context, e *verify.Evidence, want digest.Sum) (m shards.Manifest, err error) {
	bar := c.progress("shards", folderSize(c.shards), true)
	read := func(n int) { bar.add(int64(n)) }
	var unchecked []string
	if e != nil {
		m, unchecked, err = e.Shards(ctx, c.shards, read)
	} else {
		m, unchecked, err = verify.Shards(ctx, c.shards, want, read)
	}
	bar.end()
	if err == nil {
		c.shardsHeld(m, want, unchecked)
	}
	return m, err
}

func (c *command) shardsHeld(m shards.Manifest, sum digest.Sum, unchecked []string) {
	var bytes int64
	for _, f := range m.Files {
		bytes += f.Bytes
	}
	c.held("shards", map[string]any{"manifest": sum, "files": len(m.Files), "bytes": bytes, "documents": m.Documents, "tokens": m.Tokens, "not_applied": m.NotApplied},
		"manifest %s: %s, %s; %s of %s, %s dropped with a reason each",
		sum.Short(), count(len(m.Files), "file"), count(bytes, "byte"), count(m.Documents, "document"), count(m.Tokens, "token"), count(m.Dropped, "document"))
	for _, what := range unchecked {
		c.notChecked("shards: " + what)
	}
	if len(m.NotApplied) > 0 {
		c.notChecked("shards: stages that their builder did not apply: " + strings.Join(m.NotApplied, ", "))
	}
	c.notChecked("shards: that the stages were applied as the manifest says, and to what input")
}

// folderSize is what a check of a shard folder will read, -1 if unknown.
func folderSize(dir string) int64 {
	m, _, err := shards.ReadManifest(dir)
	if err != nil {
		return -1 // the check itself says what is wrong
	}
	var total int64
	for _, f := range m.Files {
		if info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(f.Path))); err == nil {
			total += info.Size()
		}
	}
	return total
}

// shardsAlone checks shards against a run, or against a manifest's digest, and
// then, if they are right, asks for something in them.
func (c *command) shardsAlone(ctx context.Context, ask func(shards.Manifest) error) error {
	if c.shards == "" {
		return usagef("--shards is needed: the folder to check")
	}
	var e *verify.Evidence
	var want digest.Sum
	var err error
	if c.manifest == "" {
		if e, err = c.open(); err != nil || e == nil {
			return err
		}
		want = e.Spec.Shards
	} else {
		if c.run != "" || c.evidence != "" {
			return usagef("--manifest takes the place of --run and --evidence")
		}
		if want, err = digest.Parse(c.manifest); err != nil {
			return usagef("--manifest: %w", err)
		}
		c.notChecked("whether any run used these shards: --run and --evidence were not given")
	}
	m, err := c.checkShards(ctx, e, want)
	if err == nil {
		err = ask(m)
	}
	if err != nil {
		c.wrong("shards", err)
	}
	if e != nil {
		return c.end(e)
	}
	c.notChecked(lawful)
	c.finish()
	return nil
}

// count writes a number of things, "1 file" or "2 files". What has its plural in
// the middle is written "list of …".
func count[N int | int64 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if first, rest, ok := strings.Cut(thing, " "); ok {
		return fmt.Sprintf("%d %ss %s", n, first, rest)
	}
	if stem, ok := strings.CutSuffix(thing, "sh"); ok {
		return fmt.Sprintf("%d %sshes", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// ranges writes ascending round numbers as "round 3" or "rounds 1 to 4, 7".
func ranges(numbers []uint64) string {
	word := "rounds "
	if len(numbers) == 1 {
		word = "round "
	}
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		switch {
		case j == i:
			parts = append(parts, fmt.Sprint(numbers[i]))
		default:
			parts = append(parts, fmt.Sprintf("%d to %d", numbers[i], numbers[j]))
		}
		i = j + 1
	}
	return word + strings.Join(parts, ", ")
}
