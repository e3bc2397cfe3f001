package testrun

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/trainer"
	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

// finish writes what the evidence holds at the end: the Spec, the log, the
// head, the checkpoints and the shard manifest.
func (b *builder) finish() error {
	records := func(yield func([]byte, error) bool) {
		for _, r := range b.records {
			if !yield(r, nil) {
				return
			}
		}
	}
	head := run.Signed{Statement: run.Head{Index: b.Size, Root: b.Root}}
	for _, key := range b.Coordinators {
		signature, err := key.Sign(b.ID, head.Statement)
		if err != nil {
			return err
		}
		head.Signatures = append(head.Signatures, signature)
	}
	manifest, err := os.ReadFile(filepath.Join(b.Shards, shards.ManifestName))
	if err != nil {
		return err
	}
	for _, write := range []func() error{
		func() error { return b.writer.Spec(b.Spec) },
		func() error { return b.writer.Log(records) },
		func() error { return b.writer.Head(head) },
		func() error { return b.writer.ShardManifest(manifest) },
		b.copyCheckpoints,
		func() error { return os.RemoveAll(b.temp) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// copyCheckpoints puts the last two checkpoints, or all, into the evidence.
func (b *builder) copyCheckpoints() error {
	for _, round := range slices.Sorted(maps.Keys(b.kept)) {
		if !b.script.Everything && round < rounds-cadence {
			continue
		}
		dir := b.kept[round]
		manifest, err := os.ReadFile(filepath.Join(dir, checkpoint.ManifestFile))
		if err != nil {
			return err
		}
		var signatures *checkpoint.Signatures
		if round > 0 {
			s, err := checkpoint.ReadSignatures(dir)
			if err != nil {
				return err
			}
			signatures = &s
		}
		err = b.writer.Checkpoint(manifest, signatures, func(f checkpoint.File) (io.ReadCloser, error) {
			return os.Open(filepath.Join(dir, f.Path))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// manifest is a shard manifest and its digest.
type manifest struct {
	shards.Manifest
	digest digest.Sum
}

// writeShards writes a shard folder with a file of each kind. Its documents are
// made up, 30 of 40 tokens each.
func writeShards(dir string) (manifest, error) {
	const documents, length = 30, 40
	m := manifest{Manifest: shards.Manifest{
		Version: 1, Name: "test run", Tokenizer: digest.Of([]byte(tokenizer)), Documents: documents, Tokens: documents * length, Dropped: 1,
		Languages:  []shards.Language{{Language: "roh", Documents: documents, Tokens: documents * length}},
		Stages:     []shards.Stage{{Name: "robots", Settings: map[string]string{"unknown": "keep"}}},
		NotApplied: []string{"licence", "toxicity"},
		Drops:      []shards.Drop{{Stage: "robots", Rule: "disallowed", Documents: 1}},
	}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return m, err
	}
	var bin []byte
	var index shards.Index
	var kept, dropped bytes.Buffer
	table := shards.NewTableWriter[shards.Document](&kept)
	for d := range documents {
		tokens := []int32{1}
		for i := range length - 2 {
			tokens = append(tokens, int32(4+(d*7+i*i+i)%28))
		}
		bin, index.Lengths = shards.AppendTokens(bin, append(tokens, 2)), append(index.Lengths, length)
		err := table.Write(shards.Document{
			Text: fmt.Sprintf("document %d", d), Domain: "example.org", Language: "roh", Robots: "allowed",
			TokenStart: int64(d * length), TokenEnd: int64((d + 1) * length),
		})
		if err != nil {
			return m, err
		}
	}
	out := shards.NewTableWriter[shards.Dropped](&dropped)
	if err := out.Write(shards.Dropped{Stage: "robots", Rule: "disallowed", Host: "no.example.org"}); err != nil {
		return m, err
	}
	if err := table.Close(); err != nil {
		return m, err
	}
	if err := out.Close(); err != nil {
		return m, err
	}
	for _, f := range []struct {
		shards.File
		b []byte
	}{
		{shards.File{Path: "documents-00000.parquet", Kind: shards.Documents, Documents: documents, Tokens: documents * length}, kept.Bytes()},
		{shards.File{Path: "dropped.parquet", Kind: shards.Dropouts, Documents: 1}, dropped.Bytes()},
		{shards.File{Path: "tokenizer.json", Kind: shards.Tokenizer}, []byte(tokenizer)},
		{shards.File{Path: "tokens-00000.bin", Kind: shards.Tokens, Documents: documents, Tokens: documents * length}, bin},
		{shards.File{Path: "tokens-00000.idx", Kind: shards.TokenIdx, Documents: documents, Tokens: documents * length}, index.Marshal()},
	} {
		f.Bytes, f.SHA256, f.Blocks = int64(len(f.b)), digest.Of(f.b), digest.Blocks(f.b)
		m.Files = append(m.Files, f.File)
		if err := os.WriteFile(filepath.Join(dir, f.Path), f.b, 0o644); err != nil {
			return m, err
		}
	}
	b, err := m.Marshal()
	if err != nil {
		return m, err
	}
	m.digest = digest.Of(b)
	return m, os.WriteFile(filepath.Join(dir, shards.ManifestName), b, 0o644)
}

// openShards returns the samples of a shard folder.
func openShards(dir string, length int) (trainer.Source, error) {
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	m, _ := folder.Manifest()
	return shards.OpenReader(m, folder, length)
}
