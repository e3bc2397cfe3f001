package shards_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/verify/digest"
)

// content is a file of a shard folder made for a test.
type content struct {
	kind              shards.Kind
	bytes             []byte
	documents, tokens int64
}

// save writes a shard folder of the given files, a tokenizer and, per .bin
// file, the tokens of its documents; it returns the manifest.
func save(t *testing.T, dir string, files map[string]content, bins map[string][][]int32) shards.Manifest {
	t.Helper()
	tokenizer := []byte(`{"version":"1.0"}`)
	all := make(map[string]content)
	maps.Copy(all, files)
	files = all
	files["tokenizer.json"] = content{kind: shards.Tokenizer, bytes: tokenizer}
	m := shards.Manifest{Version: 1, Name: "test", Tokenizer: digest.Of(tokenizer), Languages: []shards.Language{},
		Stages: []shards.Stage{}, NotApplied: []string{"licence", "toxicity"}, Drops: []shards.Drop{}}
	for name, documents := range bins {
		var index shards.Index
		var bin []byte
		for _, d := range documents {
			index.Lengths = append(index.Lengths, int32(len(d)))
			bin = shards.AppendTokens(bin, d)
		}
		n := int64(len(documents))
		files[name+".bin"] = content{shards.Tokens, bin, n, index.Tokens()}
		files[name+".idx"] = content{shards.TokenIdx, index.Marshal(), n, index.Tokens()}
		m.Documents, m.Tokens = m.Documents+n, m.Tokens+index.Tokens()
	}
	if m.Documents > 0 {
		m.Languages = append(m.Languages, shards.Language{Language: "deu", Documents: m.Documents, Tokens: m.Tokens})
		files["documents-00000.parquet"] = content{shards.Documents, []byte("PAR1 stands here"), m.Documents, m.Tokens}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		c := files[path]
		read, err := digest.Read(bytes.NewReader(c.bytes), int64(len(c.bytes)))
		if err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, shards.File{Path: path, Kind: c.kind, Bytes: read.Size, SHA256: read.SHA256,
			Blocks: append([]digest.Sum{}, read.Blocks...), Documents: c.documents, Tokens: c.tokens})
		if err := os.WriteFile(filepath.Join(dir, path), c.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if c.kind == shards.Dropouts {
			m.Dropped = c.documents
			m.Drops = []shards.Drop{{Stage: "robots", Rule: "disallowed", Documents: c.documents}}
		}
	}
	saveManifest(t, dir, m)
	return m
}

func saveManifest(t *testing.T, dir string, m shards.Manifest) {
	t.Helper()
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, shards.ManifestName), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
