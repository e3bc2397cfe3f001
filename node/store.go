package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/node/member"
	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// A member's data directory is
//
//	lock
//	records                                the run's log as far as it is covered
//	said/Commit.json, …                    the last statement signed of each kind
//	contributions/ROUND-ROOT.vector        own contributions
//	reduced/ROUND-ROOT.vector              sums of closed rounds, and of rings
//	units/ROUND-ROOT.units                 SHA-256 of the running gradient after each unit
//	checkpoints/ROUND-MANIFEST/            folders as package checkpoint writes them
//	initial/                               the state of round 0, the same way
//	blocks/                                blocks of shards
//
// with ROUND in decimal, ROOT and MANIFEST in hexadecimal. Everything is
// written to a temporary name, fsynced and renamed.
const (
	contributionsDir = "contributions"
	reducedDir       = "reduced"
	unitsDir         = "units"
	checkpointsDir   = "checkpoints"
	initialDir       = "initial"
	saidDir          = "said"
	blocksDir        = "blocks"
)

// store is what a peer keeps of a run, by name. It is safe for concurrent use.
type store struct {
	dir     string
	initial string // folder of the round-0 checkpoint, here or elsewhere
	id      run.ID

	mu    sync.Mutex // guards files
	files map[digest.Sum]string
}

// openStore opens or creates a member's data directory. initial may name a
// round-0 checkpoint that lies elsewhere.
func openStore(dir, initial string, id run.ID) (*store, error) {
	s := &store{dir: dir, initial: initial, id: id, files: map[digest.Sum]string{}}
	if initial == "" {
		s.initial = filepath.Join(dir, initialDir)
	}
	if err := removeUnfinished(dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	for _, sub := range []string{contributionsDir, reducedDir, unitsDir, checkpointsDir, saidDir, blocksDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
		if err := removeUnfinished(filepath.Join(dir, sub)); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	for _, sub := range []string{contributionsDir, reducedDir, unitsDir} {
		for _, f := range s.list(sub) {
			s.files[f.name] = f.path
		}
	}
	for _, c := range s.list(checkpointsDir) {
		if err := s.shelve(c.path); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(s.initial); err == nil || initial != "" {
		if err := s.shelve(s.initial); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// entry is a file or folder named ROUND-DIGEST.
type entry struct {
	path  string
	round uint64
	name  digest.Sum
}

// list returns the entries of a subfolder.
func (s *store) list(sub string) []entry {
	dir := filepath.Join(s.dir, sub)
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []entry
	for _, d := range found {
		path := filepath.Join(dir, d.Name())
		round, rest, _ := strings.Cut(d.Name(), "-")
		text, _, _ := strings.Cut(rest, ".")
		e := entry{path: path}
		e.round, err = strconv.ParseUint(round, 10, 64)
		if err == nil {
			e.name, err = digest.Parse(text)
		}
		if err == nil && !strings.Contains(d.Name(), unfinished) {
			out = append(out, e)
		}
	}
	return out
}

// unfinished is in the name of what is being written; at the start it is what
// a crash left.
const unfinished = ".tmp-"

func removeUnfinished(dir string) error {
	found, err := os.ReadDir(dir)
	for _, d := range found {
		if strings.Contains(d.Name(), unfinished) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, d.Name())))
		}
	}
	return err
}

// Path implements [Library].
func (s *store) Path(name digest.Sum) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok := s.files[name]
	return path, ok
}

// add names a file.
func (s *store) add(name digest.Sum, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = path
}

// shelve names the files of a checkpoint folder, and its manifest; that of
// round 0 also by its state root, which is what the Spec pins.
func (s *store) shelve(dir string) error {
	name, m, err := checkpoint.ReadManifest(dir)
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", dir, err)
	}
	s.add(name, filepath.Join(dir, checkpoint.ManifestFile))
	if m.Round == 0 {
		s.add(m.State, filepath.Join(dir, checkpoint.ManifestFile))
	}
	for _, f := range m.Files {
		s.add(f.SHA256, filepath.Join(dir, f.Path))
	}
	return nil
}

// suffixes of the files in a subfolder; those of checkpoints are folders.
var suffixes = map[string]string{contributionsDir: ".vector", reducedDir: ".vector", unitsDir: ".units"}

// place returns where something of a round lies.
func (s *store) place(sub string, round uint64, name digest.Sum) string {
	return filepath.Join(s.dir, sub, fmt.Sprintf("%d-%s%s", round, name, suffixes[sub]))
}

// put writes a named file.
func (s *store) put(sub string, round uint64, name digest.Sum, b []byte) error {
	path := s.place(sub, round, name)
	if err := writeFile(path, b); err != nil {
		return fmt.Errorf("keeping %s of round %d: %w", sub, round, err)
	}
	s.add(name, path)
	return nil
}

// read reads a named file of the given size.
func (s *store) read(name digest.Sum, size int64) ([]byte, error) {
	path, ok := s.Path(name)
	if !ok {
		return nil, fmt.Errorf("%s is not on this disk", name)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return b, nil
}

// prune removes checkpoints of rounds before a round, and vectors up to it.
func (s *store) prune(round uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range []string{contributionsDir, reducedDir, unitsDir, checkpointsDir} {
		for _, e := range s.list(sub) {
			if e.round < round || e.round == round && sub != checkpointsDir {
				os.RemoveAll(e.path)
			}
		}
	}
	for name, path := range s.files {
		if _, err := os.Stat(path); err != nil {
			delete(s.files, name)
		}
	}
}

// dropContribution removes a round's contribution.
func (s *store) dropContribution(round uint64) {
	for _, sub := range []string{contributionsDir, unitsDir} {
		for _, e := range s.list(sub) {
			if e.round == round {
				os.RemoveAll(e.path)
			}
		}
	}
}

// checkpointAt returns the folder of a checkpoint on this disk.
func (s *store) checkpointAt(c member.Checkpoint) (string, bool) {
	dir := s.initial
	if c.Round > 0 {
		dir = s.place(checkpointsDir, c.Round, c.Manifest)
	}
	_, err := os.Stat(filepath.Join(dir, checkpoint.ManifestFile))
	return dir, err == nil
}

// sync makes the names in a subfolder durable.
func (s *store) sync(sub string) error { return syncDir(filepath.Join(s.dir, sub)) }

// say keeps a signed statement before it is sent.
func (s *store) say(signed run.Signed) error {
	b, err := signed.Marshal()
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, saidDir, signed.Statement.Kind()+".json")
	if err := writeFile(path, b); err != nil {
		return fmt.Errorf("keeping a statement before it is sent: %w", err)
	}
	return nil
}

// said reads back the last statement of a kind into one of that type.
func said[S run.Statement](s *store) (*S, error) {
	var kind S
	b, err := os.ReadFile(filepath.Join(s.dir, saidDir, kind.Kind()+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("statement said before: %w", err)
	}
	signed, err := run.ParseSigned(b)
	if err != nil {
		return nil, fmt.Errorf("statement said before: %s.json: %w", kind.Kind(), err)
	}
	st, ok := signed.Statement.(S)
	if !ok {
		return nil, fmt.Errorf("statement said before: %s.json holds a %s", kind.Kind(), signed.Statement.Kind())
	}
	return &st, nil
}

// disk says what a member finds when it starts.
func (s *store) disk() (member.Disk, error) {
	var d member.Disk
	var err error
	if d.Commit, err = said[run.Commit](s); err != nil {
		return d, err
	}
	if d.Result, err = said[run.Result](s); err != nil {
		return d, err
	}
	if d.Checkpoint, err = said[run.Checkpoint](s); err != nil {
		return d, err
	}
	if d.Commit != nil {
		d.Vector = s.whole(d.Commit.Contribution)
	}
	for _, e := range s.list(reducedDir) {
		if s.whole(e.name) {
			d.Reduced = append(d.Reduced, e.name)
		}
	}
	for _, e := range s.list(checkpointsDir) {
		name, m, err := checkpoint.ReadManifest(e.path)
		if err != nil || name != e.name || m.Run != s.id {
			return d, fmt.Errorf("checkpoint %s is not what its name says: %w; move it away and start again", e.path, err)
		}
		d.Checkpoints = append(d.Checkpoints, member.Checkpoint{Round: m.Round, State: m.State, Manifest: name, Local: true})
	}
	return d, nil
}

// whole reports whether a vector file has the root it is named by; one that
// has not is removed.
func (s *store) whole(name digest.Sum) bool {
	path, ok := s.Path(name)
	if !ok {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	if CheckVector(name)(file) != nil {
		os.Remove(path)
		return false
	}
	return true
}

// sign puts the signatures of a signed checkpoint beside it.
func (s *store) sign(c state.Checkpoint) error {
	dir, ok := s.checkpointAt(member.Checkpoint{Round: c.Round, Manifest: c.Manifest})
	if !ok || c.Round == 0 {
		return nil
	}
	signatures := checkpoint.Signatures{Checkpoint: run.Checkpoint{Round: c.Round, Manifest: c.Manifest, State: c.State}}
	for _, g := range c.Members {
		if g.Statement == signatures.Checkpoint {
			signatures.Members = append(signatures.Members, g.Signature)
		}
	}
	for _, g := range c.Coordinators {
		if g.Statement == signatures.Checkpoint {
			signatures.Coordinators = append(signatures.Coordinators, g.Signature)
		}
	}
	return checkpoint.WriteSignatures(dir, signatures)
}

// writeFile writes a file so that a crash leaves the old one or the new one.
func writeFile(path string, b []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+unfinished+"*")
	if err != nil {
		return err
	}
	_, err = temp.Write(b)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// shardManifest is the shards' manifest, if they were fetched.
const shardManifest = "shards.json"

// keepSpec keeps the Spec as an object: its digest is the run ID.
func (s *store) keepSpec(spec run.Spec) error {
	b, err := spec.Marshal()
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, "spec.json")
	if err := writeFile(path, b); err != nil {
		return fmt.Errorf("keeping the Spec: %w", err)
	}
	s.add(s.id, path)
	return nil
}

// keepShards names the manifest of a shard folder.
func (s *store) keepShards(dir string) error {
	_, name, err := shards.ReadManifest(dir)
	if err != nil {
		return err
	}
	s.add(name, filepath.Join(dir, shards.ManifestName))
	return nil
}
