package shards

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// The bytes were laid out by hand from the table in the documentation of Index.
const goldenIndex = "" +
	"4d4d494449445800" + "00" + // magic
	"0100000000000000" + "04" + // version, dtype
	"0300000000000000" + "0400000000000000" + // 3 sequences, 4 document indices
	"02000000" + "05000000" + "01000000" + // lengths
	"0000000000000000" + "0800000000000000" + "1c00000000000000" + // byte offsets
	"0000000000000000" + "0100000000000000" + "0200000000000000" + "0300000000000000"

func TestIndexGolden(t *testing.T) {
	want, err := hex.DecodeString(goldenIndex)
	if err != nil {
		t.Fatal(err)
	}
	x := Index{Lengths: []int32{2, 5, 1}}
	if got := x.Marshal(); !bytes.Equal(got, want) {
		t.Fatalf("index bytes\n got %x\nwant %x", got, want)
	}
	if int64(len(want)) != IndexSize(3) || x.Tokens() != 8 {
		t.Fatalf("IndexSize %d, Tokens %d", IndexSize(3), x.Tokens())
	}
	back, err := ParseIndex(want)
	if err != nil || !slices.Equal(back.Lengths, x.Lengths) {
		t.Fatalf("ParseIndex: %v, %v", back, err)
	}
	if got := AppendTokens(nil, []int32{1, 258, 2}); !bytes.Equal(got, []byte{1, 0, 0, 0, 2, 1, 0, 0, 2, 0, 0, 0}) {
		t.Fatalf("AppendTokens: %x", got)
	}
}

func TestIndexRefusesEveryFlippedBit(t *testing.T) {
	golden, _ := hex.DecodeString(goldenIndex)
	for i := range len(golden) * 8 {
		b := slices.Clone(golden)
		b[i/8] ^= 1 << (i % 8)
		x, err := ParseIndex(b)
		// Only the last length is free: nothing after it depends on it but
		// the size of the .bin file, which the manifest fixes.
		if free := i/8 >= 42 && i/8 < 46; err == nil && !(free && x.Lengths[2] != 1) {
			t.Errorf("bit %d flipped: accepted as %v", i, x)
		}
	}
	for n := range golden {
		if _, err := ParseIndex(golden[:n]); err == nil {
			t.Errorf("cut to %d bytes: accepted", n)
		}
	}
	if _, err := ParseIndex(append(slices.Clone(golden), 0)); err == nil {
		t.Error("one byte too many: accepted")
	}
	if _, err := ParseIndex([]byte("PAR1")); err == nil || !strings.Contains(err.Error(), "Megatron") {
		t.Errorf("another format: %v", err)
	}
}

func FuzzParseIndex(f *testing.F) {
	golden, _ := hex.DecodeString(goldenIndex)
	f.Add(golden)
	f.Add(Index{}.Marshal())
	f.Add(golden[:34])
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ParseIndex(b)
		if err == nil && !bytes.Equal(x.Marshal(), b) {
			t.Fatalf("accepted %x, which is not how %v is written", b, x)
		}
	})
}
