// Package codec holds the encodings of a vector chunk: how the float32 elements
// that travel around an all-reduce ring become bytes, and bytes elements again.
//
// Only "f32" exists. The seam is open for encodings of a fixed size per element
// or per block of elements (bf16, int8 with a scale per block): a block must
// divide allreduce.Align, since chunks and frames begin at multiples of it.
package codec

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Codec turns elements into bytes and back. It has no state: the bytes are a
// function of the elements alone, so that anyone can recompute them.
//
// Every codec so far is lossless. One that is not must say so here, because the
// member that completes a chunk has to keep what it sent, not what it summed.
type Codec interface {
	// Name is the name a run's Spec uses.
	Name() string
	// Size is the number of bytes that n elements take.
	Size(n int) int
	// Encode writes src to dst. It panics unless len(dst) == Size(len(src)).
	Encode(dst []byte, src []float32)
	// Decode reads dst from src, bytes off the wire: what it cannot mean is an
	// error. It panics unless len(src) == Size(len(dst)).
	Decode(dst []float32, src []byte) error
}

// Named returns the codec a Spec names, or an error that says which exist.
func Named(name string) (Codec, error) {
	if name == (F32{}).Name() {
		return F32{}, nil
	}
	return nil, fmt.Errorf("codec %.40q is not known here: this version has only %q", name, F32{}.Name())
}

// F32 writes each element as its IEEE 754 binary32 bits, little-endian. It keeps
// every bit, those of NaNs and of the sign of zero included.
type F32 struct{}

// Name returns "f32".
func (F32) Name() string { return "f32" }

// Size returns 4n.
func (F32) Size(n int) int { return 4 * n }

// Encode implements [Codec].
func (F32) Encode(dst []byte, src []float32) {
	if len(dst) != 4*len(src) {
		panic("codec: f32 needs four bytes for each element")
	}
	for len(src) >= 4 && len(dst) >= 16 { // unrolled: the compiler then drops all but one bounds check
		binary.LittleEndian.PutUint32(dst[0:4], math.Float32bits(src[0]))
		binary.LittleEndian.PutUint32(dst[4:8], math.Float32bits(src[1]))
		binary.LittleEndian.PutUint32(dst[8:12], math.Float32bits(src[2]))
		binary.LittleEndian.PutUint32(dst[12:16], math.Float32bits(src[3]))
		dst, src = dst[16:], src[4:]
	}
	for i, x := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
	}
}

// Decode implements [Codec]; it never fails.
func (F32) Decode(dst []float32, src []byte) error {
	if len(src) != 4*len(dst) {
		panic("codec: f32 needs four bytes for each element")
	}
	for len(dst) >= 4 && len(src) >= 16 {
		dst[0] = math.Float32frombits(binary.LittleEndian.Uint32(src[0:4]))
		dst[1] = math.Float32frombits(binary.LittleEndian.Uint32(src[4:8]))
		dst[2] = math.Float32frombits(binary.LittleEndian.Uint32(src[8:12]))
		dst[3] = math.Float32frombits(binary.LittleEndian.Uint32(src[12:16]))
		dst, src = dst[4:], src[16:]
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
	return nil
}
