package allreduce

import "iter"

const (
	// Align is the number of elements that every chunk begins at a multiple of,
	// so that codec blocks at absolute offsets never straddle two chunks.
	Align = 4096

	// Piece is the number of elements of a full data frame: 1 MiB of float32.
	// Smaller pieces measured slower, and Align divides it.
	Piece = 256 << 10
)

// Bounds returns the half-open range of elements [lo, hi) of chunk c when a
// vector of the given length is cut for n members.
//
// The vector's blocks of [Align] elements, the last of which may be short, are
// dealt out in order, as evenly as whole blocks allow, the first chunks taking
// one more. So the ranges tile [0, length) in order, each lo is length or a
// multiple of Align, and chunks of a vector with fewer blocks than members may
// be empty. It panics unless length >= 0 and 0 <= c < n.
func Bounds(length, n, c int) (lo, hi int) {
	if length < 0 || c < 0 || c >= n {
		panic("allreduce: no such chunk")
	}
	blocks := length / Align
	if length%Align != 0 {
		blocks++
	}
	share, more := blocks/n, blocks%n
	first := c*share + min(c, more)
	last := first + share
	if c < more {
		last++
	}
	return min(first*Align, length), min(last*Align, length)
}

// pieces yields the ranges of at most size elements that tile [lo, hi) in order.
func pieces(lo, hi, size int) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for ; lo < hi; lo += size {
			if !yield(lo, min(lo+size, hi)) {
				return
			}
		}
	}
}
