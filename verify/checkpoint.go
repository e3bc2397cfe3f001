package verify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// Checkpoint checks the checkpoint folder dir against the log: every file by
// its digest, the state root by recomputing it, the manifest against the Spec
// and the round that the log closed, and both thresholds of signatures. It
// returns the state that it holds.
func (e *Evidence) Checkpoint(dir string) (*checkpoint.State, checkpoint.Manifest, error) {
	fail := func(err error) (*checkpoint.State, checkpoint.Manifest, error) {
		return nil, checkpoint.Manifest{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, checkpoint.ManifestFile)); errors.Is(err, fs.ErrNotExist) {
		return fail(&Missing{filepath.Join(dir, checkpoint.ManifestFile), fetchHint})
	}
	named, m, err := checkpoint.ReadManifest(dir)
	if err != nil {
		return fail(&Failure{filepath.Join(dir, checkpoint.ManifestFile), err})
	}
	// Before the files are held against it: what it names may be what was changed.
	if c, ok := e.Checkpoints[m.Round]; ok && named != c.Manifest {
		return fail(refuse(filepath.Join(dir, checkpoint.ManifestFile), "its SHA-256 is %s, the log says %s", named, c.Manifest))
	}
	st, sum, m, err := checkpoint.Read(dir)
	if err != nil {
		return fail(&Failure{dir, err})
	}
	if m.Model != e.Spec.Model && !sameModel(m, e.Spec) {
		return fail(refuse(dir, "its model is not the one of the Spec"))
	}
	if m.Tokenizer != e.Spec.Tokenizer {
		return fail(refuse(dir, "its tokenizer is %s, the Spec's is %s", m.Tokenizer, e.Spec.Tokenizer))
	}
	if m.Round == 0 {
		if err := e.initial(dir, m); err != nil {
			return fail(err)
		}
		return st, m, nil
	}
	if err := e.lineage(m, sum); err != nil {
		return fail(&Failure{dir, err})
	}
	if err := e.signatures(dir, m, sum); err != nil {
		return fail(err)
	}
	return st, m, nil
}

// initial checks the checkpoint that the run starts from: nobody signs it, the
// Spec names its state.
func (e *Evidence) initial(dir string, m checkpoint.Manifest) error {
	if m.State != e.Spec.InitialState {
		return refuse(dir, "its state root is %s, the Spec starts from %s", m.State, e.Spec.InitialState)
	}
	if m.Shards != e.Spec.Shards || m.Goldfish != e.Spec.Goldfish || m.Profile != e.Spec.Profile {
		return refuse(dir, "its shards, goldfish or profile are not those of the Spec")
	}
	if !m.Run.IsZero() || !m.Parent.IsZero() || m.Step != 0 || m.Sequences != 0 || m.LogSize != 0 {
		return refuse(dir, "it says it is of round 0, but also that training went before it")
	}
	if _, err := os.Lstat(filepath.Join(dir, checkpoint.SignaturesFile)); err == nil {
		return refuse(filepath.Join(dir, checkpoint.SignaturesFile), "an extra file: nobody signs the state that a run starts from")
	}
	return nil
}

// sameModel compares through the canonical encoding, since a configuration
// holds a pointer.
func sameModel(m checkpoint.Manifest, spec run.Spec) bool {
	other := spec
	other.Model = m.Model
	a, err1 := spec.Marshal()
	b, err2 := other.Marshal()
	return err1 == nil && err2 == nil && digest.Of(a) == digest.Of(b)
}

// lineage compares a manifest with what the log says of its round.
func (e *Evidence) lineage(m checkpoint.Manifest, sum digest.Sum) error {
	c, ok := e.Checkpoints[m.Round]
	if !ok {
		return refuse("round", "the log signs no checkpoint after round %d", m.Round)
	}
	for _, x := range []struct {
		what      string
		got, want digest.Sum
	}{
		{"run", m.Run, e.ID}, {"manifest", sum, c.Manifest}, {"state root", m.State, c.State},
		{"shards", m.Shards, e.Spec.Shards}, {"log root", m.LogRoot, c.LogRoot},
	} {
		if x.got != x.want {
			return refuse(x.what, "it is %s, the log says %s", x.got, x.want)
		}
	}
	if m.LogSize != c.LogSize || m.Step != c.Step || m.Goldfish != e.Spec.Goldfish || m.Profile != e.Spec.Profile {
		return refuse("manifest", "its log size, step, goldfish or profile is not what the log and the Spec say")
	}
	return nil
}

// signatures checks signatures.json: more than half of the round's contributors
// that the log had not expired, and k coordinators. Other members, who followed
// the round, may have signed too; they do not count.
func (e *Evidence) signatures(dir string, m checkpoint.Manifest, sum digest.Sum) error {
	what := filepath.Join(dir, checkpoint.SignaturesFile)
	s, err := checkpoint.ReadSignatures(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Missing{what, fetchHint}
	}
	if err != nil {
		return &Failure{what, err}
	}
	if want := m.Statement(sum); s.Checkpoint != want {
		return refuse(what, "the signatures are over round %d, manifest %s, state %s, not over this checkpoint", s.Checkpoint.Round, s.Checkpoint.Manifest, s.Checkpoint.State)
	}
	c := e.Checkpoints[m.Round]
	members, err := run.Signed{Statement: s.Checkpoint, Signatures: s.Members}.Signers(e.ID)
	if err == nil {
		err = among(members, e.members, "a member of this run")
	}
	if err != nil {
		return &Failure{what + ", members", err}
	}
	voters := voting(c)
	if n := len(both(members, voters)); 2*n <= len(voters) {
		return refuse(what+", members", "%d of %d contributors signed, want more than half", n, len(voters))
	}
	all := e.Authorised[m.Round]
	if _, err := e.quorum(run.Signed{Statement: s.Checkpoint, Signatures: s.Coordinators}, e.coordinators, trusted(all, e.distrusted[m.Round]), len(all)); err != nil {
		return &Failure{what + ", coordinators", err}
	}
	return nil
}

// voting returns the contributors that had not been expired or removed when the
// checkpoint was signed.
func voting(c state.Checkpoint) []identity.Address {
	return slices.DeleteFunc(slices.Clone(c.Contributors), func(a identity.Address) bool { return slices.Contains(c.Lost, a) })
}
