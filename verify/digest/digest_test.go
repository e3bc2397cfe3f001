package digest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/allmend-network/allmend/verify/digest"
)

// The inputs of the Certificate Transparency test vectors (RFC 6962's
// reference implementation), and the tree head after each.
var vectors = []struct{ leaf, root string }{
	{"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
	{"\x00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
	{"\x10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
	{"\x20\x21", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
	{"\x30\x31", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
	{"\x40\x41\x42\x43", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
	{"\x50\x51\x52\x53\x54\x55\x56\x57", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
	{"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
}

func TestRootVectors(t *testing.T) {
	if got := digest.Root(nil).String(); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("root of nothing: %s", got)
	}
	var leaves []digest.Sum
	for i, v := range vectors {
		leaves = append(leaves, digest.Leaf([]byte(v.leaf)))
		if got := digest.Root(leaves).String(); got != v.root {
			t.Errorf("root of %d leaves: %s, want %s", i+1, got, v.root)
		}
	}
}

func TestPaths(t *testing.T) {
	var leaves []digest.Sum
	for n := 1; n <= 40; n++ {
		leaves = append(leaves, digest.Leaf([]byte{byte(n)}))
		root := digest.Root(leaves)
		for i, leaf := range leaves {
			path := digest.Path(leaves, i)
			if got, err := digest.RootOf(leaf, i, n, path); err != nil || got != root {
				t.Fatalf("leaf %d of %d: %s, %v, want %s", i, n, got, err, root)
			}
			if _, err := digest.RootOf(leaf, i, n, append(path[:len(path):len(path)], root)); err == nil {
				t.Errorf("leaf %d of %d: a longer path is accepted", i, n)
			}
			if n > 1 {
				if _, err := digest.RootOf(leaf, i, n, path[1:]); err == nil {
					t.Errorf("leaf %d of %d: a shorter path is accepted", i, n)
				}
				if got, err := digest.RootOf(leaf, (i+1)%n, n, path); err == nil && got == root {
					t.Errorf("leaf %d of %d passes for another", i, n)
				}
			}
		}
	}
	for _, i := range []int{-1, 3} {
		if _, err := digest.RootOf(leaves[0], i, 3, nil); err == nil {
			t.Errorf("leaf %d of 3 is accepted", i)
		}
	}
}

func TestParse(t *testing.T) {
	good := strings.Repeat("0123456789abcdef", 4)
	s, err := digest.Parse(good)
	if err != nil || s.String() != good || s.Short() != good[:12] || s.IsZero() || !(digest.Sum{}).IsZero() {
		t.Errorf("%s: %v", s, err)
	}
	var back digest.Sum
	if text, err := s.MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != s {
		t.Errorf("%s: %v", text, err)
	}
	for _, bad := range []string{"", good[1:], good + "0", "g" + good[1:], strings.ToUpper(good), " " + good[1:]} {
		if _, err := digest.Parse(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestBlocks(t *testing.T) {
	for _, n := range []int{0, 1, digest.BlockSize - 1, digest.BlockSize, digest.BlockSize + 1, 2 * digest.BlockSize} {
		data := bytes.Repeat([]byte{7, 1, 3}, n/3+1)[:n]
		var blocks, leaves []digest.Sum // block by block, by hand
		for rest := data; len(rest) > 0; rest = rest[min(len(rest), digest.BlockSize):] {
			block := rest[:min(len(rest), digest.BlockSize)]
			blocks = append(blocks, sha256.Sum256(block))
			leaves = append(leaves, sha256.Sum256(append([]byte{0}, block...)))
		}
		if got := digest.Blocks(data); fmt.Sprint(got) != fmt.Sprint(blocks) {
			t.Errorf("%d bytes: blocks differ", n)
		}
		if got := digest.BlockRoot(data); got != digest.Root(leaves) {
			t.Errorf("%d bytes: root %s", n, got)
		}
		f, err := digest.Read(iotest.HalfReader(bytes.NewReader(data)), int64(n))
		if err != nil || f.Size != int64(n) || f.SHA256 != digest.Of(data) || fmt.Sprint(f.Blocks) != fmt.Sprint(blocks) {
			t.Errorf("%d bytes: read as %d, %v", n, f.Size, err)
		}
		if _, err := digest.Read(bytes.NewReader(data), int64(n)-1); n > 0 && err == nil {
			t.Errorf("%d bytes pass a limit of %d", n, n-1)
		}
	}
	broken := errors.New("disk failed")
	if _, err := digest.Read(iotest.ErrReader(broken), 10); !errors.Is(err, broken) {
		t.Errorf("a failing reader: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := digest.Parse(text); err == nil && s.String() != text {
			t.Errorf("%q is accepted but prints as %s", text, s)
		}
	})
}
