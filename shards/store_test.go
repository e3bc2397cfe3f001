package shards_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/storetest"
	"github.com/allmend-network/allmend/verify/digest"
)

func TestMemory(t *testing.T) {
	var last *storetest.Memory
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T, blocks [][]byte) shards.Store {
			last = new(storetest.Memory)
			putAll(t, last, blocks)
			return last
		},
		Damage: func(_ *testing.T, sum digest.Sum, b []byte) { last.Plant(sum, b) },
	})
}

func TestDirStore(t *testing.T) {
	var dir string
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T, blocks [][]byte) shards.Store {
			dir = t.TempDir()
			store, err := shards.OpenDirStore(dir)
			if err != nil {
				t.Fatal(err)
			}
			putAll(t, store, blocks)
			return store
		},
		Damage: func(t *testing.T, sum digest.Sum, b []byte) {
			overwrite(t, filepath.Join(dir, sum.String()[:2], sum.String()), 0, b)
		},
	})
}

func TestFolder(t *testing.T) {
	var dir string
	var folder *shards.Folder
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T, blocks [][]byte) shards.Store {
			dir = t.TempDir()
			writeFolder(t, dir, blocks)
			var err error
			if folder, err = shards.OpenFolder(dir); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { folder.Close() })
			return folder
		},
		Damage: func(t *testing.T, sum digest.Sum, b []byte) {
			m, _ := folder.Manifest()
			for i, block := range m.Files[0].Blocks {
				if block == sum {
					overwrite(t, filepath.Join(dir, m.Files[0].Path), int64(i)*digest.BlockSize, b)
				}
			}
		},
		ReadOnly: true,
	})
}

// A store heals: what Get found damaged can be put again.
func TestDirStoreHeals(t *testing.T) {
	dir := t.TempDir()
	store, err := shards.OpenDirStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	block := []byte("some bytes")
	sum, err := store.Put(block)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(dir, sum.String()[:2], sum.String()), 0, []byte("same bytes"))
	var mismatch *shards.MismatchError
	if _, err := store.Get(t.Context(), sum); !errors.As(err, &mismatch) {
		t.Fatalf("Get: %v", err)
	}
	if _, ok := store.Size(sum); ok {
		t.Fatal("the damaged block still counts as held")
	}
	if _, err := store.Put(block); err != nil {
		t.Fatal(err)
	}
	if b, err := store.Get(t.Context(), sum); err != nil || string(b) != string(block) {
		t.Fatalf("Get: %q, %v", b, err)
	}
}

func putAll(t *testing.T, store shards.Store, blocks [][]byte) {
	t.Helper()
	for _, b := range blocks {
		if _, err := store.Put(b); err != nil {
			t.Fatal(err)
		}
	}
}

func overwrite(t *testing.T, path string, offset int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeFolder writes a shard folder with one documents file of the given blocks.
func writeFolder(t *testing.T, dir string, blocks [][]byte) shards.Manifest {
	t.Helper()
	var body []byte
	for _, b := range blocks {
		body = append(body, b...)
	}
	return save(t, dir, map[string]content{"documents-00000.parquet": {kind: shards.Documents, bytes: body}}, nil)
}
