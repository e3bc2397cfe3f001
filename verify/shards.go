package verify

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/allmend-network/allmend/shards"
)

// Shards checks the shard folder dir: every byte against its manifest, and the
// manifest against the Spec. It returns the manifest and what was not checked.
func (e *Evidence) Shards(ctx context.Context, dir string, progress func(bytes int)) (shards.Manifest, []string, error) {
	m, sum, err := shards.ReadManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil, &Missing{"the manifest of " + dir, "allmend shards fetch brings it"}
	}
	if err != nil {
		return m, nil, &Failure{dir, err}
	}
	if sum != e.Spec.Shards {
		return m, nil, refuse(dir, "its manifest is %s; the run used %s", sum, e.Spec.Shards)
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
	if m.Tokenizer != e.Spec.Tokenizer {
		return m, nil, refuse(dir, "its tokenizer is %s; the run used %s", m.Tokenizer, e.Spec.Tokenizer)
	}
	if got := m.Sequences(e.Spec.Sequence); got != int64(e.Spec.Sequences) {
		return m, nil, refuse(dir, "it holds %d samples; the Spec says %d", got, e.Spec.Sequences)
	}
	return m, found.Unchecked, nil
}
