package shards_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/allmend-network/allmend/shards"
	"github.com/allmend-network/allmend/shards/storetest"
	"github.com/allmend-network/allmend/verify/digest"
)

// largeFolder writes three .bin files, one of more than two blocks, and
// returns the concatenated stream.
func largeFolder(t *testing.T) (*shards.Folder, []int32) {
	t.Helper()
	dir := t.TempDir()
	bins := make(map[string][][]int32)
	var stream []int32
	next := int32(3)
	for i, size := range []int{1000, 600_000, 33} {
		document := make([]int32, size)
		for j := range document {
			document[j] = next
			next = (next*5 + 1) & 0xfffff
		}
		bins["tokens-0000"+string(rune('0'+i))] = [][]int32{document[:20], document[20:]}
		stream = append(stream, document...)
	}
	save(t, dir, nil, bins)
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return folder, stream
}

func TestReaderAgainstTheStream(t *testing.T) {
	folder, stream := largeFolder(t)
	m, _ := folder.Manifest()
	for _, T := range []int{1, 7, 100, 4096, len(stream) - 1} {
		r, err := shards.OpenReader(m, folder, T)
		if err != nil {
			t.Fatal(err)
		}
		n := r.Sequences()
		if n != uint64((len(stream)-1)/T) {
			t.Fatalf("T=%d: %d samples of %d tokens", T, n, len(stream))
		}
		step := max(n/300, 1)
		for i := uint64(0); i < n; i += step {
			checkSample(t, r, stream, T, i)
		}
		checkSample(t, r, stream, T, n-1)
		if _, err := r.Sequence(t.Context(), n); err == nil {
			t.Errorf("T=%d: sample %d of %d was read", T, n, n)
		}
	}
	if _, err := shards.OpenReader(m, folder, len(stream)); err == nil {
		t.Error("a sequence length the stream does not hold was accepted")
	}
}

func checkSample(t *testing.T, r *shards.Reader, stream []int32, T int, i uint64) {
	t.Helper()
	got, err := r.Sequence(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	if want := stream[int(i)*T : int(i)*T+T+1]; !slices.Equal(got, want) {
		t.Fatalf("T=%d: sample %d differs from the stream", T, i)
	}
}

func TestReaderConcurrently(t *testing.T) {
	folder, stream := largeFolder(t)
	m, _ := folder.Manifest()
	r, err := shards.OpenReader(m, folder, 500)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			for i := w; i < r.Sequences(); i += 13 {
				checkSample(t, r, stream, 500, i)
			}
		})
	}
	wg.Wait()
}

func TestReaderNamesBlocks(t *testing.T) {
	folder, _ := largeFolder(t)
	m, _ := folder.Manifest()
	r, err := shards.OpenReader(m, folder, 600)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := m.File("tokens-00000.bin")
	second, _ := m.File("tokens-00001.bin")
	got, err := r.Blocks([]uint64{0, 1, 0})
	if err != nil || !slices.Equal(got, []digest.Sum{first.Blocks[0], second.Blocks[0]}) {
		t.Fatalf("Blocks: %v, %v", got, err)
	}
	all := make([]uint64, r.Sequences())
	for i := range all {
		all[i] = uint64(i)
	}
	if got, err := r.Blocks(all); err != nil || !slices.Equal(got, m.Blocks(shards.Tokens)[:len(got)]) || len(got) < 4 {
		t.Fatalf("Blocks of all samples: %v, %v", got, err)
	}
}

// asking remembers what it was asked to prefetch.
type asking struct {
	storetest.Memory
	asked []digest.Sum
}

func (a *asking) Prefetch(_ context.Context, sums []digest.Sum) error {
	a.asked = append(a.asked, sums...)
	return nil
}

func TestReaderPrefetchesWhatIsMissing(t *testing.T) {
	folder, _ := largeFolder(t)
	m, _ := folder.Manifest()
	store := new(asking)
	r, err := shards.OpenReader(m, store, 600)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := r.Blocks([]uint64{0, 1, 500})
	if err != nil {
		t.Fatal(err)
	}
	b, err := folder.Get(t.Context(), sums[0])
	if err != nil {
		t.Fatal(err)
	}
	putAll(t, store, [][]byte{b})
	if err := r.Prefetch(t.Context(), []uint64{0, 1, 500}); err != nil || !slices.Equal(store.asked, sums[1:]) {
		t.Fatalf("asked for %v, want %v (%v)", store.asked, sums[1:], err)
	}
	var missing *shards.MissingError
	if _, err := r.Sequence(t.Context(), 500); !errors.As(err, &missing) {
		t.Fatalf("a sample whose block is missing: %v", err)
	}
}

// liar returns other bytes than asked for and no error.
type liar struct{ shards.Blocks }

func (l liar) Get(ctx context.Context, sum digest.Sum) ([]byte, error) {
	b, err := l.Blocks.Get(ctx, sum)
	if err == nil {
		b[len(b)-1] ^= 1
	}
	return b, err
}

func TestReaderTrustsNoStore(t *testing.T) {
	folder, _ := largeFolder(t)
	m, _ := folder.Manifest()
	r, err := shards.OpenReader(m, liar{folder}, 10)
	if err != nil {
		t.Fatal(err)
	}
	var mismatch *shards.MismatchError
	if _, err := r.Sequence(t.Context(), 0); !errors.As(err, &mismatch) {
		t.Fatalf("Sequence over a lying store: %v", err)
	}
}

func TestReaderRefusesNegativeTokens(t *testing.T) {
	dir := t.TempDir()
	m := save(t, dir, nil, map[string][][]int32{"tokens-00000": {{1, -5, 2}}})
	folder, err := shards.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	r, err := shards.OpenReader(m, folder, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Sequence(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "below 0") {
		t.Fatalf("a negative token: %v", err)
	}
}

func TestOpenFolderRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := shards.OpenFolder(dir); err == nil || !strings.Contains(err.Error(), "shards build") {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, shards.ManifestName)); err != nil {
		t.Fatal(err)
	}
	if _, err := shards.OpenFolder(dir); err == nil {
		t.Error("a manifest that is a link out of the folder was read")
	}
}
