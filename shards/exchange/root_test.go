package exchange

import (
	"testing"
	"testing/fstest"
)

// The roots were computed with boxo v0.43.0: its size splitter, balanced
// layout and basic directory, over files of the same bytes.
func TestRootGolden(t *testing.T) {
	large := make([]byte, 180<<20+5)
	const period = 16 << 20
	for i := range period {
		large[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	for at := period; at < len(large); at += period {
		copy(large[at:], large[:period])
	}
	files := fstest.MapFS{}
	for _, c := range []struct {
		name string
		size int
		want string
	}{
		{"a.bin", 0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
		{"b.bin", 100, "bafkreif44cx7dhhvvjvhi2ndbvq5atsdo3slx5rycbjo5ht7gojfzfknki"},
		{"c.bin", 1<<20 + 7, "bafybeidzagp5mmxfmj733hbvwpae7qo5vpmmwyq6yhr4alci4najz2dfui"},
		{"d.bin", 180<<20 + 5, "bafybeib6dbgooaadfnnhfr6fld3petlaxer42ygz25x6p45gsgfxkt3rx4"},
	} {
		files[c.name] = &fstest.MapFile{Data: large[:c.size]}
		if l, err := fileLink(files, c.name); err != nil || l.cid.String() != c.want {
			t.Errorf("%s: %v, %v; want %s", c.name, l.cid, err, c.want)
		}
	}
	const want = "bafybeifor2bslkr2zkmrhxtnhior6k7xxsgekgbangrakjf7rajwniittq"
	if l, err := folderLink(files, ".", 0); err != nil || l.cid.String() != want {
		t.Errorf("folder: %v, %v; want %s", l.cid, err, want)
	}
}
