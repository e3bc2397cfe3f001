package coordinator

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/allmend-network/allmend/verify/digest"
)

// believe is a check that every log passes.
func believe(*Records) error { return nil }

func openRecords(t *testing.T, path string) *Records {
	t.Helper()
	r, err := OpenRecords(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func someRecords(n int) [][]byte {
	var out [][]byte
	for i := range n {
		out = append(out, fmt.Appendf(nil, `{"index":%d}`, i))
	}
	return out
}

func TestRecordsGolden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	r := openRecords(t, path)
	if err := r.Append(0, []byte(`{"a":1}`), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "616c6c6d656e64207265636f72647320310a" + // magic
		"00000007" + "cff7d56a" + "7b2261223a317d" +
		"00000002" + "297bd0aa" + "7b7d"
	if hex.EncodeToString(got) != want {
		t.Errorf("got %x\nwant %s", got, want)
	}
}

func TestRecordsRootIsTheDumbOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	r := openRecords(t, path)
	records := someRecords(37)
	var leaves []digest.Sum
	for i, b := range records {
		if err := r.Append(uint64(i), b); err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, digest.Leaf(b))
	}
	again := openRecords(t, path)
	for n := range len(leaves) + 1 {
		for _, log := range []*Records{r, again} {
			got, err := log.Root(uint64(n))
			if err != nil || got != digest.Root(leaves[:n]) {
				t.Fatalf("root of %d: %v, %v; want %v", n, got, err, digest.Root(leaves[:n]))
			}
		}
	}
	if _, err := r.Root(38); err == nil {
		t.Error("root of records that are not there")
	}
}

func TestRecordsAppendAgain(t *testing.T) {
	r := openRecords(t, filepath.Join(t.TempDir(), "records"))
	records := someRecords(5)
	if err := r.Append(0, records[:3]...); err != nil {
		t.Fatal(err)
	}
	if err := r.Append(1, records[1:]...); err != nil {
		t.Fatal(err)
	}
	got, more, err := r.Read(2, 2)
	if err != nil || len(got) != 2 || !bytes.Equal(got[1], records[3]) {
		t.Fatalf("Read: %q, %v", got, err)
	}
	var corrupt *CorruptError
	if err := r.Append(4, []byte("other")); !errors.As(err, &corrupt) || corrupt.Record != 4 {
		t.Errorf("different bytes: %v", err)
	}
	if err := r.Append(6, []byte("gap")); err == nil {
		t.Error("appended after a gap")
	}
	select {
	case <-more:
		t.Error("woken without a new record")
	default:
	}
	if err := r.Append(5, []byte("x")); err != nil {
		t.Fatal(err)
	}
	<-more
}

// TestRecordsDamage cuts and flips a file at every byte: what was cut is
// dropped, what was flipped is named, nothing is believed that was not there.
func TestRecordsDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "records")
	records := someRecords(4)
	if err := openRecords(t, path).Append(0, records...); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	try := func(b []byte) (uint64, error) {
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenRecords(damaged)
		if err != nil {
			return 0, err
		}
		defer r.Close()
		got, _, err := r.Read(0, 10)
		for i, b := range got {
			if !bytes.Equal(b, records[i]) {
				t.Errorf("record %d is %q", i, b)
			}
		}
		if err == nil {
			err = r.Append(r.Len(), records[r.Len():]...)
		}
		return r.Len(), err
	}
	for n := range whole {
		if size, err := try(whole[:n]); err != nil || size != 4 {
			t.Fatalf("cut at %d: %d records, %v", n, size, err)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		var corrupt *CorruptError
		if size, err := try(b); err == nil && size != 4 || err != nil && !errors.As(err, &corrupt) {
			t.Fatalf("flipped byte %d: %d records, %v", i, size, err)
		}
	}
}

func TestRecordsReplace(t *testing.T) {
	dir := t.TempDir()
	full := openRecords(t, filepath.Join(dir, "full"))
	if err := full.Append(0, someRecords(9)...); err != nil {
		t.Fatal(err)
	}
	root, err := full.Root(7)
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if err := full.Export(&stream, 7); err != nil {
		t.Fatal(err)
	}
	behind := openRecords(t, filepath.Join(dir, "behind"))
	if err := behind.Append(0, someRecords(2)...); err != nil {
		t.Fatal(err)
	}
	if err := behind.replace(bytes.NewReader(stream.Bytes()), 7, digest.Of(nil), believe); err == nil || behind.Len() != 2 {
		t.Fatalf("took a stream with another root: %d records, %v", behind.Len(), err)
	}
	if err := behind.replace(bytes.NewReader(stream.Bytes()[:stream.Len()-1]), 7, root, believe); err == nil || behind.Len() != 2 {
		t.Fatalf("took a cut stream: %d records, %v", behind.Len(), err)
	}
	if err := behind.replace(&stream, 7, root, believe); err != nil {
		t.Fatal(err)
	}
	if err := behind.Append(7, someRecords(9)[7:]...); err != nil {
		t.Fatal(err)
	}
	got, err := openRecords(t, filepath.Join(dir, "behind")).Root(9)
	if want, _ := full.Root(9); err != nil || got != want {
		t.Errorf("root after replace: %v, %v; want %v", got, err, want)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte(recordsMagic))
	f.Add(appendRecord([]byte(recordsMagic), []byte(`{"a":1}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := []byte(recordsMagic)
		err := readRecords(bytes.NewReader(b), func(record []byte) error {
			again = appendRecord(again, record)
			return nil
		})
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x reads as %x", b, again)
		}
	})
}
