package shards_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards"
)

// sampleFolder writes a small shard folder of each kind of file.
func sampleFolder(t *testing.T) (string, shards.Manifest) {
	t.Helper()
	dir := t.TempDir()
	m := save(t, dir, map[string]content{"dropped.parquet": {kind: shards.Dropouts, bytes: []byte("PAR1 dropped"), documents: 4}},
		map[string][][]int32{"tokens-00000": {{1, 7, 8, 2}, {1, 9, 2}}, "tokens-00001": {{1, 5, 2}}})
	return dir, m
}

func TestCheck(t *testing.T) {
	dir, m := sampleFolder(t)
	read := 0
	found, err := shards.Check(t.Context(), dir, func(n int) { read += n })
	sum, _ := m.Digest()
	if err != nil || len(found.Problems) > 0 || len(found.Checked) != len(m.Files) || found.Manifest != sum || read == 0 {
		t.Fatalf("a good folder: %+v, %v, %d bytes read", found, err, read)
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	replace := func(name string, change func(b []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 4; return b }
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"flipped bit", replace("tokens-00001.bin", flip), []string{`"tokens-00001.bin"`, "block 0", "sha256"}},
		{"flipped index", replace("tokens-00000.idx", flip), []string{`"tokens-00000.idx"`, "sha256"}},
		{"flipped documents", replace("documents-00000.parquet", flip), []string{`"documents-00000.parquet"`, "sha256"}},
		{"flipped tokenizer", replace("tokenizer.json", flip), []string{`"tokenizer.json"`, "sha256"}},
		{"flipped dropped", replace("dropped.parquet", flip), []string{`"dropped.parquet"`, "sha256"}},
		{"truncated", replace("tokens-00000.bin", func(b []byte) []byte { return b[:len(b)-1] }), []string{`"tokens-00000.bin"`, "got 27 bytes", "want 28 bytes"}},
		{"longer", replace("tokens-00000.bin", func(b []byte) []byte { return append(b, 0) }), []string{`"tokens-00000.bin"`, "29 bytes"}},
		{"missing", func(t *testing.T, dir string) { remove(t, dir, "tokens-00000.idx") }, []string{`"tokens-00000.idx"`, "no file"}},
		{"untouched", replace("tokenizer.json", func(b []byte) []byte { return b }), nil},
		{"extra file", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "extra.bin"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{`"extra.bin"`, "does not list it"}},
		{"link", func(t *testing.T, dir string) {
			remove(t, dir, "tokenizer.json")
			if err := os.Symlink("tokens-00000.idx", filepath.Join(dir, "tokenizer.json")); err != nil {
				t.Fatal(err)
			}
		}, []string{`"tokenizer.json"`, "not a regular file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := sampleFolder(t)
			c.change(t, dir)
			found, err := shards.Check(t.Context(), dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.want) == 0 {
				if len(found.Problems) > 0 {
					t.Fatalf("problems: %v", found.Problems)
				}
				return
			}
			if len(found.Problems) != 1 {
				t.Fatalf("problems: %v, want one", found.Problems)
			}
			for _, want := range c.want {
				if !strings.Contains(found.Problems[0].Error(), want) {
					t.Errorf("%q does not say %q", found.Problems[0], want)
				}
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestCheckWithoutDropped(t *testing.T) {
	dir, _ := sampleFolder(t)
	remove(t, dir, "dropped.parquet")
	found, err := shards.Check(t.Context(), dir, nil)
	if err != nil || len(found.Problems) != 0 || len(found.Unchecked) != 1 || !strings.HasPrefix(found.Unchecked[0], "dropped.parquet") {
		t.Fatalf("%+v, %v", found, err)
	}
	remove(t, dir, shards.ManifestName)
	if _, err := shards.Check(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "manifest.json") {
		t.Fatalf("without a manifest: %v", err)
	}
}

func TestAssemble(t *testing.T) {
	dir, m := sampleFolder(t)
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := shards.Assemble(t.Context(), m, folder, copied); err != nil {
		t.Fatal(err)
	}
	found, err := shards.Check(t.Context(), copied, nil)
	if err != nil || len(found.Problems)+len(found.Unchecked) != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := shards.Assemble(t.Context(), m, folder, copied); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Fatalf("over a folder that exists: %v", err)
	}

	// Without the dropped file: left out. Without another: nothing appears.
	remove(t, dir, "dropped.parquet")
	open := filepath.Join(t.TempDir(), "open")
	if err := shards.Assemble(t.Context(), m, folder, open); err != nil {
		t.Fatal(err)
	}
	remove(t, dir, "tokens-00001.bin")
	parent := t.TempDir()
	if err := shards.Assemble(t.Context(), m, folder, filepath.Join(parent, "none")); err == nil || !strings.Contains(err.Error(), "tokens-00001.bin") {
		t.Fatalf("with a block missing: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}
