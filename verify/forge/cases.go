package forge

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/identity"
)

func evidence(l Layout) string { return l.Evidence }
func shardDir(l Layout) string { return l.Shards }

// signedCheckpoints matches the folders of checkpoints.
const signedCheckpoints = "checkpoints/*/"

// Cases returns every case. All of them apply to evidence of a finished run
// that covers a signed checkpoint, and to a shard folder with its dropped file.
func Cases() []Case {
	cases := []Case{
		flip("the Spec", "run", verify.SpecFile, evidence),
		flip("the log", "run", verify.LogFile, evidence),
		flip("the head", "run", verify.HeadFile, evidence),
		flip("a vector", "run", "vectors/*", evidence),
		flip("unit hashes", "run", "units/*", evidence),
		flip("the shard manifest in the evidence", "run", verify.ShardManifest, evidence),
		flip("a checkpoint's manifest", "checkpoint", signedCheckpoints+checkpoint.ManifestFile, evidence),
		flip("a checkpoint's signatures", "checkpoint", signedCheckpoints+checkpoint.SignaturesFile, evidence),
		flip("a checkpoint's weights", "checkpoint", signedCheckpoints+"model.safetensors", evidence),
		flip("a checkpoint's optimizer state", "checkpoint", signedCheckpoints+"optimizer.safetensors", evidence),
		flip("a checkpoint's tokenizer", "checkpoint", signedCheckpoints+checkpoint.TokenizerFile, evidence),
		flip("a checkpoint's configuration", "checkpoint", signedCheckpoints+"config.json", evidence),
		flip("a checkpoint's generation configuration", "checkpoint", signedCheckpoints+"generation_config.json", evidence),
		flip("the shard manifest", "shards", shards.ManifestName, shardDir),
		flip("tokens", "shards", "*.bin", shardDir),
		flip("an index", "shards", "*.idx", shardDir),
		flip("documents", "shards", "documents*.parquet", shardDir),
		flip("dropped documents", "shards", "dropped*.parquet", shardDir),
		flip("the shards' tokenizer", "shards", "tokenizer.json", shardDir),
	}
	cases = append(cases, logCases()...)
	cases = append(cases, headCases()...)
	cases = append(cases, checkpointCases()...)
	return append(cases, folderCases()...)
}

// resigning returns the case of a checkpoint whose signatures change.
func resigning(name, want string, change func(Layout, *checkpoint.Signatures) error) Case {
	return Case{name, "checkpoint", func(l Layout) (string, error) {
		dir, err := signed(l)
		if err != nil {
			return "", err
		}
		s, err := checkpoint.ReadSignatures(dir)
		if err != nil {
			return "", err
		}
		if err := change(l, &s); err != nil {
			return "", err
		}
		return want, checkpoint.WriteSignatures(dir, s)
	}}
}

// signed returns the folder of the last checkpoint with signatures.
func signed(l Layout) (string, error) {
	path, err := last(l.Evidence, signedCheckpoints+checkpoint.SignaturesFile)
	return filepath.Dir(path), err
}

func checkpointCases() []Case {
	return []Case{
		{"weights and manifest written anew under the old signatures", "checkpoint", func(l Layout) (string, error) {
			_, err := rewriteWeights(l)
			return "the log says", err
		}},
		{"weights and manifest written anew, signed by a stranger in every place", "checkpoint", func(l Layout) (string, error) {
			dir, err := rewriteWeights(l)
			if err != nil {
				return "", err
			}
			sum, m, err := checkpoint.ReadManifest(dir)
			if err != nil {
				return "", err
			}
			s := checkpoint.Signatures{Checkpoint: m.Statement(sum)}
			g, err := l.Stranger.Sign(l.Run, s.Checkpoint)
			s.Members, s.Coordinators = []identity.Signature{g}, []identity.Signature{g}
			if err != nil {
				return "", err
			}
			return "the log says", checkpoint.WriteSignatures(dir, s)
		}},
		resigning("a checkpoint signed by a stranger", "is not a coordinator", func(l Layout, s *checkpoint.Signatures) error {
			g, err := l.Stranger.Sign(l.Run, s.Checkpoint)
			s.Coordinators = []identity.Signature{g}
			return err
		}),
		resigning("a checkpoint with a stranger among its members", "is not a member of this run", func(l Layout, s *checkpoint.Signatures) error {
			g, err := l.Stranger.Sign(l.Run, s.Checkpoint)
			s.Members = []identity.Signature{g}
			return err
		}),
		resigning("a checkpoint with k − 1 coordinators", "want at least", func(l Layout, s *checkpoint.Signatures) error {
			k, err := threshold(l)
			if err == nil {
				s.Coordinators = s.Coordinators[:k-1]
			}
			return err
		}),
		resigning("a checkpoint with too few members", "want more than half", func(_ Layout, s *checkpoint.Signatures) error {
			s.Members = s.Members[:len(s.Members)/3]
			return nil
		}),
		resigning("a checkpoint whose coordinator counts twice", "signers must be sorted and distinct", func(_ Layout, s *checkpoint.Signatures) error {
			s.Coordinators = append(s.Coordinators, s.Coordinators[len(s.Coordinators)-1])
			return nil
		}),
		resigning("a checkpoint with the high-s twin of a signature", "a malleated twin", func(_ Layout, s *checkpoint.Signatures) error {
			s.Members[0] = twin(s.Members[0])
			return nil
		}),
		resigning("the signatures of another checkpoint", "not over this checkpoint", func(_ Layout, s *checkpoint.Signatures) error {
			s.Checkpoint.Round++
			return nil
		}),
	}
}

// rewriteWeights changes one weight of the last signed checkpoint and makes
// every hash in its folder right again; signatures stay.
func rewriteWeights(l Layout) (string, error) {
	dir, err := signed(l)
	if err != nil {
		return "", err
	}
	state, _, m, err := checkpoint.Read(dir)
	if err != nil {
		return "", err
	}
	s, err := checkpoint.ReadSignatures(dir)
	if err != nil {
		return "", err
	}
	tokenizer, err := os.ReadFile(filepath.Join(dir, checkpoint.TokenizerFile))
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	state.Params[0] = -state.Params[0] - 1
	if _, _, err := checkpoint.Write(dir, state, tokenizer, m); err != nil {
		return "", err
	}
	return dir, checkpoint.WriteSignatures(dir, s)
}

// folderCases put files where none belong.
func folderCases() []Case {
	return []Case{
		adding("an extra file in the evidence", "run", evidence, func(Layout) (string, error) { return "notes.txt", nil }),
		adding("a vector that no record names", "run", evidence, func(Layout) (string, error) { return verify.VectorFile(anotherRun), nil }),
		adding("an extra file in a checkpoint", "checkpoint", evidence, func(l Layout) (string, error) {
			dir, err := signed(l)
			if err != nil {
				return "", err
			}
			return filepath.Rel(l.Evidence, filepath.Join(dir, "pytorch_model.bin"))
		}),
		adding("an extra file in the shards", "shards", shardDir, func(Layout) (string, error) { return "tokens-99999.bin", nil }),
		linking("a vector behind a symbolic link", "run", "vectors/*", evidence),
		linking("weights behind a symbolic link", "checkpoint", signedCheckpoints+"model.safetensors", evidence),
		linking("tokens behind a symbolic link", "shards", "*.bin", shardDir),
		{"another vector under a vector's name", "run", func(l Layout) (string, error) {
			path, err := last(l.Evidence, "vectors/*")
			if err != nil {
				return "", err
			}
			return filepath.Base(path), edit(path, func(b []byte) ([]byte, error) {
				slices.Reverse(b) // as many numbers, finite or not
				return b, nil
			})
		}},
		{"a shard manifest with a path that leaves its folder", "shards", func(l Layout) (string, error) {
			return "not a plain relative path", editManifest(l, func(m *shards.Manifest) { m.Files[0].Path = "../" + m.Files[0].Path })
		}},
		{"a shard manifest that says all stages were applied", "shards", func(l Layout) (string, error) {
			return "the run used", editManifest(l, func(m *shards.Manifest) { m.NotApplied = []string{} })
		}},
	}
}

// adding returns the case of a file that is in no manifest and in no log.
func adding(name, check string, folder func(Layout) string, file func(Layout) (string, error)) Case {
	return Case{name, check, func(l Layout) (string, error) {
		f, err := file(l)
		if err != nil {
			return "", err
		}
		return filepath.Base(f), put(filepath.Join(folder(l), f), []byte("not asked for"))
	}}
}

// linking returns the case of a file that is moved out of its folder and linked
// to from there: the bytes are right, the place is not.
func linking(name, check, pattern string, folder func(Layout) string) Case {
	return Case{name, check, func(l Layout) (string, error) {
		path, err := last(folder(l), pattern)
		if err != nil {
			return "", err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		elsewhere := filepath.Join(filepath.Dir(folder(l)), "elsewhere")
		if err := put(elsewhere, b); err != nil {
			return "", err
		}
		if err := os.Remove(path); err != nil {
			return "", err
		}
		return filepath.Base(path), os.Symlink(elsewhere, path)
	}}
}

// editManifest changes the shard manifest, checked or not, and writes it in
// canonical form.
func editManifest(l Layout, change func(*shards.Manifest)) error {
	return edit(filepath.Join(l.Shards, shards.ManifestName), func(b []byte) ([]byte, error) {
		var m shards.Manifest
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, err
		}
		change(&m)
		return canonical.Marshal(m)
	})
}
