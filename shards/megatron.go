package shards

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// TokenSize is the size in bytes of one token in a .bin file: int32,
// little endian.
const TokenSize = 4

const (
	indexMagic   = "MMIDIDX\x00\x00"
	indexVersion = 1
	indexInt32   = 4 // Megatron's dtype code of int32
	indexHeader  = len(indexMagic) + 8 + 1 + 8 + 8
)

// Index is the .idx file of a Megatron indexed dataset in which each document
// is one sequence. Little endian, without padding:
//
//	offset        bytes    what
//	0             9        "MMIDIDX" and two zero bytes
//	9             8        uint64 version, 1
//	17            1        dtype of the .bin file, 4 = int32
//	18            8        uint64 n, number of sequences
//	26            8        uint64 number of document indices, n+1
//	34            4·n      int32 length of each sequence in tokens
//	34+4n         8·n      int64 offset of each sequence in the .bin file in bytes
//	34+12n        8·(n+1)  int64 document indices 0, 1, …, n
type Index struct {
	Lengths []int32 // of each document in tokens; at least 1
}

// IndexSize returns the size in bytes of the .idx file of n documents.
func IndexSize(n int64) int64 { return int64(indexHeader) + 20*n + 8 }

// Tokens returns the number of tokens in the .bin file.
func (x Index) Tokens() int64 {
	var n int64
	for _, length := range x.Lengths {
		n += int64(length)
	}
	return n
}

// Marshal returns the .idx file.
func (x Index) Marshal() []byte {
	n := len(x.Lengths)
	le := binary.LittleEndian
	b := make([]byte, 0, IndexSize(int64(n)))
	b = append(b, indexMagic...)
	b = le.AppendUint64(b, indexVersion)
	b = append(b, indexInt32)
	b = le.AppendUint64(b, uint64(n))
	b = le.AppendUint64(b, uint64(n)+1)
	for _, length := range x.Lengths {
		b = le.AppendUint32(b, uint32(length))
	}
	var offset uint64
	for _, length := range x.Lengths {
		b = le.AppendUint64(b, offset)
		offset += TokenSize * uint64(length)
	}
	for i := range n + 1 {
		b = le.AppendUint64(b, uint64(i))
	}
	return b
}

// ParseIndex reads an .idx file. It accepts only what [Index.Marshal] writes:
// documents of one sequence, at least one token each, lying one after another.
func ParseIndex(b []byte) (Index, error) {
	le := binary.LittleEndian
	if len(b) < indexHeader || !bytes.HasPrefix(b, []byte(indexMagic)) {
		return Index{}, fmt.Errorf("index of %d bytes: does not begin with a Megatron index header", len(b))
	}
	if version := le.Uint64(b[9:]); version != indexVersion {
		return Index{}, fmt.Errorf("index: version %d is unknown, want %d", version, indexVersion)
	}
	if b[17] != indexInt32 {
		return Index{}, fmt.Errorf("index: tokens have dtype code %d, want %d (int32)", b[17], indexInt32)
	}
	n := le.Uint64(b[18:])
	if n > uint64(len(b)) || IndexSize(int64(n)) != int64(len(b)) || le.Uint64(b[26:]) != n+1 {
		return Index{}, fmt.Errorf("index of %d bytes: says %d sequences and %d document indices, which take another size", len(b), n, le.Uint64(b[26:]))
	}
	lengths, offsets, documents := b[indexHeader:], b[indexHeader+4*int(n):], b[indexHeader+12*int(n):]
	x := Index{Lengths: make([]int32, n)}
	var offset uint64
	for i := range x.Lengths {
		length := le.Uint32(lengths[4*i:])
		if length == 0 || length > math.MaxInt32 {
			return Index{}, fmt.Errorf("index: sequence %d of %d tokens", i, int32(length))
		}
		if at := le.Uint64(offsets[8*i:]); at != offset {
			return Index{}, fmt.Errorf("index: sequence %d lies at byte %d, want %d", i, at, offset)
		}
		x.Lengths[i] = int32(length)
		offset += TokenSize * uint64(length)
	}
	for i := range n + 1 {
		if at := le.Uint64(documents[8*i:]); at != i {
			return Index{}, fmt.Errorf("index: document index %d is %d; a document is one sequence here", i, at)
		}
	}
	return x, nil
}

// AppendTokens appends tokens to dst as a .bin file holds them.
func AppendTokens(dst []byte, tokens []int32) []byte {
	for _, t := range tokens {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(t))
	}
	return dst
}
