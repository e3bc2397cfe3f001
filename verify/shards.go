package verify

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/verify/digest"
)

const shardsHint = "allmend shards fetch brings it"

// Shards checks the shard folder dir against the digest of its manifest: every
// byte of every file, and that there is no other file. Progress, if not nil, is
// told the bytes read. It returns the manifest and what was not checked.
func Shards(ctx context.Context, dir string, want digest.Sum, progress func(bytes int)) (shards.Manifest, []string, error) {
	m, sum, err := shards.ReadManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil, &Missing{"the manifest of " + dir, shardsHint}
	}
	if err != nil {
		return m, nil, &Failure{dir, err}
	}
	if sum != want {
		return m, nil, refuse(dir, "its manifest is %s; the run used %s", sum, want)
	}
	found, err := shards.Check(ctx, dir, progress)
	if err != nil {
		return m, nil, err
	}
	if len(found.Problems) > 0 {
		var all []string
		for _, p := range found.Problems {
			all = append(all, p.Error())
		}
		return m, nil, refuse(dir, "%s", strings.Join(all, "; "))
	}
	return m, found.Unchecked, nil
}

// Shards checks the shard folder dir as [Shards] does, and against the Spec.
func (e *Evidence) Shards(ctx context.Context, dir string, progress func(bytes int)) (shards.Manifest, []string, error) {
	m, unchecked, err := Shards(ctx, dir, e.Spec.Shards, progress)
	if err != nil {
		return m, nil, err
	}
	return m, unchecked, e.fits(dir, m)
}

// fits compares a manifest, which is the Spec's, with what else the Spec says.
func (e *Evidence) fits(dir string, m shards.Manifest) error {
	if m.Tokenizer != e.Spec.Tokenizer {
		return refuse(dir, "its tokenizer is %s; the run used %s", m.Tokenizer, e.Spec.Tokenizer)
	}
	if got := m.Sequences(e.Spec.Sequence); got != int64(e.Spec.Sequences) {
		return refuse(dir, "it holds %d samples; the Spec says %d", got, e.Spec.Sequences)
	}
	return nil
}

// Samples opens the run's shards in the folder dir as what a replay reads. Each
// block is checked when it is read. The caller closes it.
func (e *Evidence) Samples(dir string) (trainer.Source, io.Closer, error) {
	folder, err := shards.OpenFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &Missing{"the manifest of " + dir, shardsHint}
	}
	if err != nil {
		return nil, nil, &Failure{dir, err}
	}
	m, sum := folder.Manifest()
	if sum != e.Spec.Shards {
		err = refuse(dir, "its manifest is %s; the run used %s", sum, e.Spec.Shards)
	} else {
		err = e.fits(dir, m)
	}
	if err != nil {
		return nil, nil, errors.Join(err, folder.Close())
	}
	reader, err := shards.OpenReader(m, folder, e.Spec.Sequence)
	if err != nil {
		return nil, nil, errors.Join(&Failure{dir, err}, folder.Close())
	}
	return reader, folder, nil
}
