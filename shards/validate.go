package shards

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/allmend-network/allmend/verify/digest"
)

// Validate reports the first thing that is wrong with m: a path that could
// leave the folder, rows out of order, or sums that do not agree.
func (m Manifest) Validate() error {
	for _, check := range []func() error{m.validateHeader, m.validatePaths, m.validateFiles, m.validateStages, m.validateCounts, m.validateSums} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (m Manifest) validateHeader() error {
	if m.Version != 1 {
		return fmt.Errorf("version: %d is unknown; this build reads version 1", m.Version)
	}
	if err := ValidateName(m.Name); err != nil {
		return err
	}
	if len(m.Files) == 0 || len(m.Files) > maxFiles {
		return fmt.Errorf("files: want 1 to %d, got %d", maxFiles, len(m.Files))
	}
	for _, n := range []int{len(m.Languages), len(m.Stages), len(m.NotApplied), len(m.Drops)} {
		if n > maxEntries {
			return fmt.Errorf("a list of %d entries, at most %d are allowed", n, maxEntries)
		}
	}
	return nil
}

// ValidateName reports what is wrong with a name for shards: it is 1 to 64
// printable ASCII characters.
func ValidateName(name string) error {
	if len(name) < 1 || len(name) > 64 {
		return fmt.Errorf("name: want 1 to 64 characters, got %d", len(name))
	}
	if err := printable(name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	return nil
}

// validatePaths makes sure that writing all files below a folder writes only
// there and no file over another, also where case does not count.
func (m Manifest) validatePaths() error {
	files := make(map[string]string, len(m.Files))
	for i, f := range m.Files {
		if err := validatePath(f.Path); err != nil {
			return err
		}
		if i > 0 && m.Files[i-1].Path >= f.Path {
			return fmt.Errorf("file %q: paths must be sorted and distinct", f.Path)
		}
		folded := strings.ToLower(f.Path)
		if other, ok := files[folded]; ok {
			return fmt.Errorf("files %q and %q differ in case only", other, f.Path)
		}
		files[folded] = f.Path
	}
	for folded, path := range files {
		for i, r := range folded {
			if other, ok := files[folded[:i]]; r == '/' && ok {
				return fmt.Errorf("file %q is also the folder of %q", other, path)
			}
		}
	}
	return nil
}

// validatePath accepts letters, digits, '-', '_' and '.' in segments parted by
// single slashes, none of which begins or ends with a dot or is a device name.
func validatePath(path string) error {
	if len(path) == 0 || len(path) > 255 {
		return fmt.Errorf("path %.80q: want 1 to 255 characters, got %d", path, len(path))
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment[0] == '.' || segment[len(segment)-1] == '.' {
			return fmt.Errorf("path %q: not a plain relative path", path)
		}
		stem, _, _ := strings.Cut(strings.ToLower(segment), ".")
		if deviceName(stem) {
			return fmt.Errorf("path %q: %q is a reserved name on some systems", path, segment)
		}
		for _, r := range segment {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.') {
				return fmt.Errorf("path %q: character %q is not allowed", path, r)
			}
		}
	}
	if folded := strings.ToLower(path); folded == ManifestName || folded == SignaturesName {
		return fmt.Errorf("path %q: this name is not a shard's to use", path)
	}
	return nil
}

func deviceName(stem string) bool {
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && stem[3] >= '0' && stem[3] <= '9'
}

func (m Manifest) validateFiles() error {
	for _, f := range m.Files {
		if err := f.validate(); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
		if f.Kind != Tokens {
			continue
		}
		index, ok := m.File(indexPath(f.Path))
		if !ok || index.Kind != TokenIdx {
			return fmt.Errorf("file %q: its index %q is missing", f.Path, indexPath(f.Path))
		}
		if index.Documents != f.Documents || index.Tokens != f.Tokens {
			return fmt.Errorf("file %q: %d documents of %d tokens, its index says %d of %d", f.Path, f.Documents, f.Tokens, index.Documents, index.Tokens)
		}
	}
	return nil
}

func (f File) validate() error {
	if f.Bytes < 0 || f.Bytes > maxFileSize || f.Documents < 0 || f.Documents > maxFileSize || f.Tokens < 0 || f.Tokens > maxFileSize {
		return fmt.Errorf("%d bytes, %d documents, %d tokens: outside 0 … %d", f.Bytes, f.Documents, f.Tokens, int64(maxFileSize))
	}
	if want := (f.Bytes + digest.BlockSize - 1) / digest.BlockSize; int64(len(f.Blocks)) != want {
		return fmt.Errorf("%d blocks, %d bytes have %d", len(f.Blocks), f.Bytes, want)
	}
	if len(f.Blocks) == 0 && f.SHA256 != digest.Of(nil) || len(f.Blocks) == 1 && f.SHA256 != f.Blocks[0] {
		return fmt.Errorf("its sha256 differs from that of its only block")
	}
	switch f.Kind {
	case Tokens:
		if f.Bytes != TokenSize*f.Tokens || f.Documents > f.Tokens || !strings.HasSuffix(f.Path, ".bin") {
			return fmt.Errorf("%d bytes do not hold %d tokens of %d documents", f.Bytes, f.Tokens, f.Documents)
		}
	case TokenIdx:
		if f.Bytes != IndexSize(f.Documents) || !strings.HasSuffix(f.Path, ".idx") {
			return fmt.Errorf("%d bytes are not an index of %d documents", f.Bytes, f.Documents)
		}
	case Documents:
	case Dropouts, Tokenizer:
		if f.Tokens != 0 || f.Kind == Tokenizer && f.Documents != 0 {
			return fmt.Errorf("%d documents, %d tokens in a file of kind %q", f.Documents, f.Tokens, f.Kind)
		}
	default:
		return fmt.Errorf("kind %q is unknown", f.Kind)
	}
	return nil
}

func (m Manifest) validateStages() error {
	for _, s := range m.Stages {
		if s.Settings == nil || len(s.Settings) > maxEntries {
			return fmt.Errorf("stage %q: want an object of at most %d settings", s.Name, maxEntries)
		}
		if err := printable(s.Name); err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		for key, value := range s.Settings {
			if len(key) > maxText || len(value) > maxText {
				return fmt.Errorf("stage %q: a setting of more than %d bytes", s.Name, maxText)
			}
		}
	}
	for i, name := range m.NotApplied {
		if err := printable(name); err != nil {
			return fmt.Errorf("not_applied: %w", err)
		}
		if i > 0 && m.NotApplied[i-1] >= name {
			return fmt.Errorf("not_applied: %q: must be sorted and distinct", name)
		}
		if slices.ContainsFunc(m.Stages, func(s Stage) bool { return s.Name == name }) {
			return fmt.Errorf("not_applied: %q is also listed as applied", name)
		}
	}
	return nil
}

func (m Manifest) validateCounts() error {
	for i, l := range m.Languages {
		if err := errors.Join(printable(l.Language), count(l.Documents), count(l.Tokens)); err != nil {
			return fmt.Errorf("languages: %w", err)
		}
		if i > 0 && m.Languages[i-1].Language >= l.Language {
			return fmt.Errorf("languages: %q: must be sorted and distinct", l.Language)
		}
	}
	for i, d := range m.Drops {
		if err := errors.Join(printable(d.Stage), printable(d.Rule), count(d.Documents)); err != nil {
			return fmt.Errorf("drops: %w", err)
		}
		if i > 0 && compareDrops(m.Drops[i-1], d) >= 0 {
			return fmt.Errorf("drops: %s, %s: must be sorted and distinct", d.Stage, d.Rule)
		}
	}
	return nil
}

func compareDrops(a, b Drop) int {
	return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Rule, b.Rule))
}

// validateSums compares the totals with what they are the totals of.
func (m Manifest) validateSums() error {
	files := make(map[Kind]File)
	rows := make(map[Kind]int)
	for _, f := range m.Files {
		sum := files[f.Kind]
		sum.SHA256, sum.Documents, sum.Tokens = f.SHA256, sum.Documents+f.Documents, sum.Tokens+f.Tokens
		files[f.Kind] = sum
		rows[f.Kind]++
	}
	var languages Language
	for _, l := range m.Languages {
		languages.Documents, languages.Tokens = languages.Documents+l.Documents, languages.Tokens+l.Tokens
	}
	var drops int64
	for _, d := range m.Drops {
		drops += d.Documents
	}
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"tokenizer files", int64(rows[Tokenizer]), 1},
		{"dropped files beyond one", int64(max(rows[Dropouts]-1, 0)), 0},
		{"indexes", int64(rows[TokenIdx]), int64(rows[Tokens])},
		{"documents in tokens files", files[Tokens].Documents, m.Documents},
		{"tokens in tokens files", files[Tokens].Tokens, m.Tokens},
		{"documents in documents files", files[Documents].Documents, m.Documents},
		{"tokens in documents files", files[Documents].Tokens, m.Tokens},
		{"documents over all languages", languages.Documents, m.Documents},
		{"tokens over all languages", languages.Tokens, m.Tokens},
		{"documents in the dropped file", files[Dropouts].Documents, m.Dropped},
		{"documents over all drops", drops, m.Dropped},
	} {
		if c.got != c.want {
			return fmt.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
	if files[Tokenizer].SHA256 != m.Tokenizer {
		return fmt.Errorf("tokenizer: %s, but the tokenizer file is %s", m.Tokenizer, files[Tokenizer].SHA256)
	}
	return nil
}

// count accepts numbers so small that no sum of them overflows.
func count(n int64) error {
	if n < 0 || n > maxFileSize {
		return fmt.Errorf("count %d is outside 0 … %d", n, int64(maxFileSize))
	}
	return nil
}

func printable(s string) error {
	if s == "" || len(s) > maxText {
		return fmt.Errorf("%.80q: want 1 to %d characters", s, maxText)
	}
	for _, r := range s {
		if r < ' ' || r > '~' {
			return fmt.Errorf("%.80q: character %q is not printable ASCII", s, r)
		}
	}
	return nil
}
