// Package digest is a 32-byte name for bytes: SHA-256 sums, and Merkle roots
// over blocks, tensors and records.
//
// A file's name is its plain SHA-256, so `sha256sum` reproduces it. Trees are
// those of RFC 6962 section 2.1: a leaf is SHA-256(0x00 ‖ data), a node is
// SHA-256(0x01 ‖ left ‖ right). See docs/formats.md, "Digests".
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// BlockSize is the size in bytes of the blocks that files and vectors are cut
// into; the last block of a file may be shorter.
const BlockSize = 1 << 20

// Sum is the SHA-256 of some bytes, or the root of a Merkle tree.
type Sum [sha256.Size]byte

// Of returns the SHA-256 of b.
func Of(b []byte) Sum { return sha256.Sum256(b) }

// String returns s as 64 lower-case hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// Short returns the first 12 digits of s, for people's eyes only.
func (s Sum) Short() string { return s.String()[:12] }

// IsZero reports whether s is all zero, which names nothing.
func (s Sum) IsZero() bool { return s == Sum{} }

// Parse reads 64 lower-case hexadecimal digits.
func Parse(text string) (Sum, error) {
	var s Sum
	if len(text) != 2*len(s) {
		return s, fmt.Errorf("digest %.80q: want 64 hexadecimal digits, got %d characters", text, len(text))
	}
	if _, err := hex.Decode(s[:], []byte(text)); err != nil {
		return Sum{}, fmt.Errorf("digest %q: %w", text, err)
	}
	if s.String() != text {
		return Sum{}, fmt.Errorf("digest %q: want lower-case hexadecimal digits", text)
	}
	return s, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] as strictly as [Parse].
func (s *Sum) UnmarshalText(text []byte) error {
	sum, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = sum
	return nil
}

// Leaf returns the RFC 6962 leaf hash of data.
func Leaf(data []byte) Sum {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(data)
	return Sum(h.Sum(nil))
}

func node(left, right Sum) Sum {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+len(left):], right[:])
	return sha256.Sum256(b[:])
}

// Root returns the RFC 6962 Merkle tree hash of leaf hashes; that of no leaves
// is the SHA-256 of nothing.
func Root(leaves []Sum) Sum {
	switch len(leaves) {
	case 0:
		return Of(nil)
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	return node(Root(leaves[:k]), Root(leaves[k:]))
}

// split returns the largest power of two smaller than n > 1.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

// Path returns the RFC 6962 audit path of leaf i, bottom up.
func Path(leaves []Sum, i int) []Sum {
	if i < 0 || i >= len(leaves) {
		panic("digest: leaf index out of range")
	}
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	if i < k {
		return append(Path(leaves[:k], i), Root(leaves[k:]))
	}
	return append(Path(leaves[k:], i-k), Root(leaves[:k]))
}

// RootOf returns the root that a leaf at index i of n and its audit path lead
// to. It fails when the path has the wrong length for (i, n).
func RootOf(leaf Sum, i, n int, path []Sum) (Sum, error) {
	if i < 0 || i >= n {
		return Sum{}, fmt.Errorf("leaf %d of a tree of %d leaves", i, n)
	}
	if n == 1 {
		if len(path) != 0 {
			return Sum{}, fmt.Errorf("audit path is %d hashes too long", len(path))
		}
		return leaf, nil
	}
	if len(path) == 0 {
		return Sum{}, fmt.Errorf("audit path is too short")
	}
	last, rest := path[len(path)-1], path[:len(path)-1]
	k := split(n)
	if i < k {
		left, err := RootOf(leaf, i, k, rest)
		return node(left, last), err
	}
	right, err := RootOf(leaf, i-k, n-k, rest)
	return node(last, right), err
}

// Blocks returns the SHA-256 of each [BlockSize] block of b, in order.
func Blocks(b []byte) []Sum {
	var sums []Sum
	for len(b) > 0 {
		n := min(len(b), BlockSize)
		sums = append(sums, Of(b[:n]))
		b = b[n:]
	}
	return sums
}

// BlockRoot returns the Merkle root over the [BlockSize] blocks of b: each
// leaf's data is one block.
func BlockRoot(b []byte) Sum {
	var leaves []Sum
	for len(b) > 0 {
		n := min(len(b), BlockSize)
		leaves = append(leaves, Leaf(b[:n]))
		b = b[n:]
	}
	return Root(leaves)
}

// File is what one pass over a file yields: its size in bytes, its SHA-256,
// and the SHA-256 of each of its blocks.
type File struct {
	Size   int64
	SHA256 Sum
	Blocks []Sum
}

// Read digests r to its end, reading at most limit bytes. It fails when r
// holds more.
func Read(r io.Reader, limit int64) (File, error) {
	var f File
	whole := sha256.New()
	block := make([]byte, BlockSize)
	for {
		n, err := io.ReadFull(r, block)
		if n > 0 {
			f.Size += int64(n)
			if f.Size > limit {
				return File{}, fmt.Errorf("more than the %d bytes expected", limit)
			}
			whole.Write(block[:n])
			f.Blocks = append(f.Blocks, Of(block[:n]))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			f.SHA256 = Sum(whole.Sum(nil))
			return f, nil
		}
		if err != nil {
			return File{}, err
		}
	}
}
