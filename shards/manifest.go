package shards

import (
	"fmt"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
)

// Names of the files in a shard folder that no manifest lists.
const (
	ManifestName   = "manifest.json"
	SignaturesName = "signatures.json" // the builder's signed ShardManifest statement, if there is one
)

// Limits of a manifest. A row costs at least 67 bytes per block, so they also
// bound the shards it can name: about 1 TiB.
const (
	MaxManifestSize = 64 << 20 // bytes of its canonical encoding
	maxFiles        = 1 << 16
	maxFileSize     = 1 << 40 // bytes
	maxEntries      = 1 << 16 // languages, stages, drop counts
	maxText         = 1 << 12 // bytes of one string
)

// Kind says what a file of a shard folder is.
type Kind string

// The kinds of file.
const (
	Tokens    Kind = "tokens"    // Megatron .bin
	TokenIdx  Kind = "index"     // Megatron .idx
	Documents Kind = "documents" // Parquet of [Document]
	Dropouts  Kind = "dropped"   // Parquet of [Dropped]
	Tokenizer Kind = "tokenizer" // tokenizer.json
)

// Manifest names every byte of a shard folder and says how it was made. Its
// canonical encoding is never changed; the SHA-256 of that is its digest.
type Manifest struct {
	Version    int        `json:"version"` // of this format: 1
	Name       string     `json:"name"`    // for people; 1 to 64 printable ASCII characters
	Files      []File     `json:"files"`   // sorted by path
	Tokenizer  digest.Sum `json:"tokenizer"`
	Languages  []Language `json:"languages"`   // of the documents kept; sorted by code
	Stages     []Stage    `json:"stages"`      // applied, in order
	NotApplied []string   `json:"not_applied"` // stages of the plan that were not; sorted
	Drops      []Drop     `json:"drops"`       // sorted by stage, rule
	Documents  int64      `json:"documents"`   // kept
	Tokens     int64      `json:"tokens"`
	Dropped    int64      `json:"dropped"` // documents
}

// File is one file of a shard folder.
type File struct {
	Path      string       `json:"path"` // relative, with slashes
	Kind      Kind         `json:"kind"`
	Bytes     int64        `json:"bytes"`
	SHA256    digest.Sum   `json:"sha256"`
	Blocks    []digest.Sum `json:"blocks"`    // SHA-256 of each [digest.BlockSize] block
	Documents int64        `json:"documents"` // rows or sequences in it; 0 for a tokenizer
	Tokens    int64        `json:"tokens"`    // in it or, for an index, in its .bin file
}

// Language counts what was kept in one language.
type Language struct {
	Language  string `json:"language"` // ISO 639-3 code, or "und"
	Documents int64  `json:"documents"`
	Tokens    int64  `json:"tokens"`
}

// Stage is one step of the pipeline that made the shards.
type Stage struct {
	Name     string            `json:"name"`
	Settings map[string]string `json:"settings"`
}

// Drop counts the documents that one rule of one stage dropped.
type Drop struct {
	Stage     string `json:"stage"`
	Rule      string `json:"rule"`
	Documents int64  `json:"documents"`
}

// ParseManifest reads a manifest from its canonical encoding and validates it.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := canonical.Unmarshal(b, &m, MaxManifestSize); err != nil {
		return Manifest{}, fmt.Errorf("shard manifest: %w", err)
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, fmt.Errorf("shard manifest: %w", err)
	}
	return m, nil
}

// Marshal returns the canonical encoding of m. It fails when m is too large.
func (m Manifest) Marshal() ([]byte, error) {
	b, err := canonical.Marshal(m)
	if err == nil && len(b) > MaxManifestSize {
		err = fmt.Errorf("shard manifest of %d bytes, at most %d are allowed: build several shard folders", len(b), MaxManifestSize)
	}
	return b, err
}

// Digest returns the SHA-256 of m's canonical encoding, which names the shards.
func (m Manifest) Digest() (digest.Sum, error) {
	b, err := m.Marshal()
	return digest.Of(b), err
}

// Sequences returns the number of samples of T tokens (and T labels) that the
// token stream holds: ⌊(tokens−1)/T⌋.
func (m Manifest) Sequences(T int) int64 {
	if T < 1 {
		panic("shards: sequence length below 1")
	}
	return max(m.Tokens-1, 0) / int64(T)
}

// File returns the row of a path; m must have its files in order.
func (m Manifest) File(path string) (File, bool) {
	i, ok := slices.BinarySearchFunc(m.Files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
	if !ok {
		return File{}, false
	}
	return m.Files[i], true
}

// Blocks returns the distinct blocks of the files of the given kinds, or of
// all files if none is given, in the order of the files.
func (m Manifest) Blocks(kinds ...Kind) []digest.Sum {
	var sums []digest.Sum
	seen := make(map[digest.Sum]bool)
	for _, f := range m.Files {
		if !f.is(kinds) {
			continue
		}
		for _, b := range f.Blocks {
			if !seen[b] {
				seen[b] = true
				sums = append(sums, b)
			}
		}
	}
	return sums
}

func (f File) is(kinds []Kind) bool { return len(kinds) == 0 || slices.Contains(kinds, f.Kind) }

// Restricted returns the blocks that only members and admitted auditors may
// be served: those of dropped files that no other file has.
func (m Manifest) Restricted() map[digest.Sum]bool {
	restricted := make(map[digest.Sum]bool)
	for _, b := range m.Blocks(Dropouts) {
		restricted[b] = true
	}
	for _, b := range m.Blocks(Tokens, TokenIdx, Documents, Tokenizer) {
		delete(restricted, b)
	}
	return restricted
}

// indexPath returns the path of the .idx file of a .bin file.
func indexPath(path string) string { return strings.TrimSuffix(path, ".bin") + ".idx" }
