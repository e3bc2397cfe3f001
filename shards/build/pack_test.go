package build

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/shards"
)

// TestPackSplits packs documents under small limits and reads every file back.
func TestPackSplits(t *testing.T) {
	dir := t.TempDir()
	p := &packer{dir: dir, limit: packLimit{tokens: 10, documents: 3}}
	var stream []int32
	next := int32(0)
	lengths := []int{4, 6, 1, 30, 2, 2, 2, 2, 9}
	for i, n := range lengths {
		d := tokenized{row: shards.Document{Text: fmt.Sprint(i)}}
		for range n {
			next++
			d.tokens = append(d.tokens, next)
		}
		stream = append(stream, d.tokens...)
		if err := p.add(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.finish(); err != nil {
		t.Fatal(err)
	}
	want := [][]int32{{4, 6}, {1}, {30}, {2, 2, 2}, {2}, {9}}
	if len(p.files) != 3*len(want) {
		t.Fatalf("%d files, want %d", len(p.files), 3*len(want))
	}
	var got []int32
	var at int64
	for i, lengths := range want {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("tokens-%05d.idx", i)))
		if err != nil {
			t.Fatal(err)
		}
		index, err := shards.ParseIndex(b)
		if err != nil || !slices.Equal(index.Lengths, lengths) {
			t.Errorf("file %d: %v, %v; want %v", i, index.Lengths, err, lengths)
		}
		bin, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("tokens-%05d.bin", i)))
		if err != nil || int64(len(bin)) != shards.TokenSize*index.Tokens() {
			t.Fatalf("file %d: %d bytes, %v", i, len(bin), err)
		}
		for j := 0; j < len(bin); j += shards.TokenSize {
			got = append(got, int32(bin[j])|int32(bin[j+1])<<8)
		}
		rows := readRows[shards.Document](t, filepath.Join(dir, fmt.Sprintf("documents-%05d.parquet", i)))
		for j, row := range rows {
			if row.TokenStart != at || row.TokenEnd != at+int64(lengths[j]) {
				t.Errorf("document %s: tokens %d to %d, want %d to %d", row.Text, row.TokenStart, row.TokenEnd, at, at+int64(lengths[j]))
			}
			at = row.TokenEnd
		}
	}
	if !slices.Equal(got, stream) || at != int64(len(stream)) {
		t.Error("the files together are not the stream")
	}
}
