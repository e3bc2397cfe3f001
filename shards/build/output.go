package build

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/build/privacy"
	"github.com/allmend-network/allmend/shards/build/robots"
	"github.com/allmend-network/allmend/verify/digest"
)

const (
	droppedName   = "dropped.parquet"
	tokenizerName = "tokenizer.json"
	maxOutput     = 1 << 40 // bytes of one file
)

// counts is what the manifest says about documents. Not safe for concurrent use.
type counts struct {
	languages map[string]shards.Language
	drops     map[[2]string]shards.Drop
}

func (c *counts) keep(language string, tokens int64) {
	if c.languages == nil {
		c.languages = make(map[string]shards.Language)
	}
	l := c.languages[language]
	c.languages[language] = shards.Language{Language: language, Documents: l.Documents + 1, Tokens: l.Tokens + tokens}
}

func (c *counts) drop(d Drop) {
	if c.drops == nil {
		c.drops = make(map[[2]string]shards.Drop)
	}
	key := [2]string{d.Stage, d.Rule}
	c.drops[key] = shards.Drop{Stage: d.Stage, Rule: d.Rule, Documents: c.drops[key].Documents + 1}
}

// table is a Parquet file being written.
type table[T shards.Row] struct {
	*shards.TableWriter[T]
	file *os.File
}

func newTable[T shards.Row](dir, name string) (*table[T], error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &table[T]{shards.NewTableWriter[T](f), f}, nil
}

func (t *table[T]) finish() error {
	err := errors.Join(t.Close(), t.file.Sync(), t.file.Close())
	t.file = nil
	return err
}

// abandon closes the file of a table that was not finished.
func (t *table[T]) abandon() {
	if t.file != nil {
		t.file.Close()
	}
}

// writeFile writes a file of the folder that is being made; the folder's rename makes it visible.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// fileRow digests a finished file.
func fileRow(dir, name string, kind shards.Kind) (shards.File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return shards.File{}, err
	}
	defer f.Close()
	read, err := digest.Read(f, maxOutput)
	if err != nil {
		return shards.File{}, fmt.Errorf("file %q: %w", name, err)
	}
	return shards.File{Path: name, Kind: kind, Bytes: read.Size, SHA256: read.SHA256, Blocks: append([]digest.Sum{}, read.Blocks...)}, nil
}

// writeManifest completes the folder by the tokenizer and the manifest.
func (b *builder) writeManifest() error {
	if err := writeFile(filepath.Join(b.temp, tokenizerName), b.report.Tokenizer.Marshal()); err != nil {
		return err
	}
	m := &b.report.Manifest
	for name, kind := range map[string]shards.Kind{tokenizerName: shards.Tokenizer, droppedName: shards.Dropouts} {
		row, err := fileRow(b.temp, name, kind)
		if err != nil {
			return err
		}
		if kind == shards.Dropouts {
			row.Documents = int64(b.report.Read - len(b.spool.entries))
		}
		m.Files = append(m.Files, row)
	}
	slices.SortFunc(m.Files, func(x, y shards.File) int { return strings.Compare(x.Path, y.Path) })
	b.describe(m)
	if err := m.Validate(); err != nil {
		return fmt.Errorf("shard manifest: %w", err)
	}
	text, err := m.Marshal()
	if err != nil {
		return err
	}
	b.report.ManifestDigest = digest.Of(text)
	return writeFile(filepath.Join(b.temp, shards.ManifestName), text)
}

// describe fills in all of the manifest but the files.
func (b *builder) describe(m *shards.Manifest) {
	m.Version, m.Name, m.Tokenizer = 1, b.Name, b.report.Tokenizer.Digest()
	m.Languages = slices.SortedFunc(maps.Values(b.counts.languages), func(x, y shards.Language) int { return strings.Compare(x.Language, y.Language) })
	m.Drops = slices.SortedFunc(maps.Values(b.counts.drops), func(x, y shards.Drop) int {
		return cmp.Or(strings.Compare(x.Stage, y.Stage), strings.Compare(x.Rule, y.Rule))
	})
	if m.Drops == nil {
		m.Drops = []shards.Drop{}
	}
	for _, l := range m.Languages {
		m.Documents, m.Tokens = m.Documents+l.Documents, m.Tokens+l.Tokens
	}
	for _, d := range m.Drops {
		m.Dropped += d.Documents
	}
	m.Stages, m.NotApplied = b.stages(), NotApplied()
}

// stages names what was applied, with every setting that a result depends on.
func (b *builder) stages() []shards.Stage {
	trained := "given"
	if b.Tokenizer == nil {
		trained = fmt.Sprintf("trained on these documents, at most %d tokens", b.VocabSize)
	}
	return []shards.Stage{
		{Name: StageRead, Settings: map[string]string{"max_page_bytes": fmt.Sprint(MaxPage)}},
		{Name: StageRobots, Settings: map[string]string{"agents": strings.Join(robots.Agents(), ", "), "semantics": "blocked if Google's or Protego's reading blocks, or train-ai=n", "unknown": "keep", "evidence": "the latest robots.txt in the input"}},
		{Name: StageExtract, Settings: map[string]string{"extractor": "go-trafilatura v1.12.2, else visible text"}},
		{Name: StageOptOut, Settings: map[string]string{"signals": "noai (meta, X-Robots-Tag), Content-Usage train-ai=n, TDMRep"}},
		{Name: StageLanguage, Settings: map[string]string{"identifier": "whatlanggo v1.0.1", "drops": "none"}},
		{Name: StagePrivacy, Settings: map[string]string{"profile": string(privacy.Strict), "masks": strings.Join([]string{privacy.EmailMask, privacy.IPMask, privacy.IBANMask}, ", ")}},
		{Name: StageDedup, Settings: map[string]string{"rule": "exact text after NFC and collapsed blanks, first kept"}},
		{Name: "tokenize", Settings: map[string]string{"tokenizer": trained, "document": "<s> text </s>"}},
		{Name: "pack", Settings: map[string]string{"order": "ascending SHA-256(seed as uint64 LE, SHA-256 of text)", "seed": fmt.Sprint(b.Seed)}},
	}
}

func (b *builder) prepareSalt() error {
	if b.Salt != nil {
		return nil
	}
	b.report.SaltFile = filepath.Clean(b.Out) + ".salt"
	if _, err := os.Lstat(b.report.SaltFile); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists: it belongs to shards built before; move it away or choose another output: %w", b.report.SaltFile, errors.Join(fs.ErrExist, err))
	}
	b.Salt = make([]byte, 32)
	rand.Read(b.Salt) // crypto/rand: never fails
	return nil
}

// publishSalt keeps a salt that was made here beside the shards, before they appear.
func (b *builder) publishSalt() error {
	if b.report.SaltFile == "" {
		return nil
	}
	temp := filepath.Join(b.temp, "..", filepath.Base(b.temp)+".salt")
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(b.Salt))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, b.report.SaltFile)
}
