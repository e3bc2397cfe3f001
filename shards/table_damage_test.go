//go:build !race

package shards_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/shards"
)

// These tests feed damaged files to the Parquet library, whose panics become
// errors in Rows. The race detector's pointer checks end the process before
// there is a panic, so they run without it.

func TestRowsRefusesDamage(t *testing.T) {
	b := table(t, documents(200))
	for _, n := range []int{0, 3, 8, 11, len(b) / 2, len(b) - 1} {
		if _, err := rows[shards.Document](b[:n]); err == nil {
			t.Errorf("cut to %d bytes: accepted", n)
		}
	}
	huge := slices.Clone(b)
	copy(huge[len(huge)-8:], "\xff\xff\xff\x7f")
	if _, err := rows[shards.Document](huge); err == nil || !strings.Contains(err.Error(), "footer") {
		t.Errorf("a footer of 2 GiB: %v", err)
	}
	for i := range 200 {
		damaged := slices.Clone(b)
		damaged[len(b)-1-i*7%len(b)] ^= 1 << (i % 8)
		rows[shards.Document](damaged) // an error or rows, no crash
	}
}

func FuzzRows(f *testing.F) {
	var buf bytes.Buffer
	w := shards.NewTableWriter[shards.Dropped](&buf)
	for i := range 3 {
		if err := w.Write(shards.Dropped{Stage: "dedup", Rule: "same text", Host: "a.example", SourceOffset: int64(i)}); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		for range shards.Rows[shards.Dropped](readerAt{bytes.NewReader(b)}, int64(len(b))) {
		}
	})
}

// readerAt hides all other methods of a reader.
type readerAt struct{ io.ReaderAt }
