package checkpoint

import (
	"fmt"
	"slices"

	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// The files of a checkpoint folder. All but the last two are listed in the
// manifest; signatures.json may be absent.
const (
	ManifestFile   = "manifest.json"
	SignaturesFile = "signatures.json"
	weightsFile    = "model.safetensors"
	optimizerFile  = "optimizer.safetensors"
	configFile     = "config.json"
	generationFile = "generation_config.json"
	TokenizerFile  = "tokenizer.json"
)

// files lists what a manifest names, in the order in which it does.
var files = []string{configFile, generationFile, weightsFile, optimizerFile, TokenizerFile}

const (
	// MaxManifestSize bounds manifest.json in bytes: some 700,000 blocks, which
	// is a checkpoint of about 700 GB.
	MaxManifestSize = 64 << 20
	// MaxSignaturesSize bounds signatures.json in bytes.
	MaxSignaturesSize = 1 << 20
)

// Manifest states what a checkpoint is and names each byte of it. Members that
// hold the same state write the same manifest, bit for bit.
type Manifest struct {
	Version   int          `json:"version"` // of this format: 1
	Run       run.ID       `json:"run"`     // zero for the state a run starts from
	Round     uint64       `json:"round"`
	Step      uint64       `json:"step"`      // optimizer steps taken
	Parent    digest.Sum   `json:"parent"`    // manifest of the checkpoint before; zero if none
	State     digest.Sum   `json:"state"`     // state root
	Model     model.Config `json:"model"`     //
	Tokenizer digest.Sum   `json:"tokenizer"` // SHA-256 of tokenizer.json
	Shards    digest.Sum   `json:"shards"`    // SHA-256 of the shard manifest
	Sequences uint64       `json:"sequences"` // samples consumed so far
	Goldfish  run.Goldfish `json:"goldfish"`
	Profile   string       `json:"profile"`
	LogSize   uint64       `json:"log_size"` // records up to and including this round's CLOSED
	LogRoot   digest.Sum   `json:"log_root"`
	Files     []File       `json:"files"`
}

// File is one file of a checkpoint: its whole digest, and those of its 1 MiB
// blocks, by which it is fetched.
type File struct {
	Path   string       `json:"path"`
	Bytes  int64        `json:"bytes"`
	SHA256 digest.Sum   `json:"sha256"`
	Blocks []digest.Sum `json:"blocks"`
}

// ParseManifest reads a manifest from its canonical encoding and checks that it
// is one of a checkpoint this build can hold.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := canonical.Unmarshal(b, &m, MaxManifestSize); err != nil {
		return Manifest{}, fmt.Errorf("checkpoint manifest: %w", err)
	}
	if err := m.validate(); err != nil {
		return Manifest{}, fmt.Errorf("checkpoint manifest: %w", err)
	}
	return m, nil
}

func (m Manifest) validate() error {
	if m.Version != 1 {
		return fmt.Errorf("version %d is unknown; this build reads version 1", m.Version)
	}
	if err := m.Model.Validate(); err != nil {
		return err
	}
	var paths []string
	for _, f := range m.Files {
		paths = append(paths, f.Path)
		blocks := (f.Bytes + digest.BlockSize - 1) / digest.BlockSize
		if f.Bytes < 1 || int64(len(f.Blocks)) != blocks {
			return fmt.Errorf("file %.80q: %d blocks for %d bytes", f.Path, len(f.Blocks), f.Bytes)
		}
	}
	if !slices.Equal(paths, files) {
		return fmt.Errorf("files are %.400q, want exactly %q", paths, files)
	}
	if got := m.Files[slices.Index(files, TokenizerFile)].SHA256; got != m.Tokenizer {
		return fmt.Errorf("tokenizer is %s, but the file listed is %s", m.Tokenizer, got)
	}
	return nil
}

// Marshal returns the canonical encoding of m.
func (m Manifest) Marshal() ([]byte, error) { return canonical.Marshal(m) }

// Statement returns what a signer of the manifest with this digest signs.
func (m Manifest) Statement(sum digest.Sum) run.Checkpoint {
	return run.Checkpoint{Round: m.Round, Manifest: sum, State: m.State}
}

// Signatures are those over one checkpoint, each list sorted by signer.
type Signatures struct {
	Checkpoint   run.Checkpoint       `json:"checkpoint"`
	Members      []identity.Signature `json:"members"`
	Coordinators []identity.Signature `json:"coordinators"`
}

// ParseSignatures reads signatures from their canonical encoding. It checks
// none of them.
func ParseSignatures(b []byte) (Signatures, error) {
	var s Signatures
	if err := canonical.Unmarshal(b, &s, MaxSignaturesSize); err != nil {
		return Signatures{}, fmt.Errorf("checkpoint signatures: %w", err)
	}
	return s, nil
}

// Marshal returns the canonical encoding of s.
func (s Signatures) Marshal() ([]byte, error) {
	// A nil list would be null, which canonical JSON does not have.
	s.Members = append([]identity.Signature{}, s.Members...)
	s.Coordinators = append([]identity.Signature{}, s.Coordinators...)
	return canonical.Marshal(s)
}
