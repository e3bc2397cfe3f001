package allreduce

import "fmt"

// Dumb returns the sum of n >= 1 vectors of one length, vectors[i] being the
// contribution of rank i: the bits that [Reduce] must give, one element at a
// time. It is the oracle of tests and of replay. Finite summands are assumed,
// see the package comment.
func Dumb(vectors [][]float32) []float32 {
	n, sum := len(vectors), make([]float32, len(vectors[0]))
	for c := range n {
		lo, hi := Bounds(len(sum), n, c)
		for i := lo; i < hi; i++ {
			sum[i] = vectors[c][i]
			for j := 1; j < n; j++ {
				sum[i] += vectors[(c+j)%n][i]
			}
		}
	}
	return sum
}

// A Source reads len(dst) elements of one contribution, from element offset on.
type Source func(dst []float32, offset int) error

// Sum writes to dst what [Dumb] returns, for contributions that need not be in
// memory: contributions[i] is rank i's, each of len(dst) elements, and Sum reads
// each element of each once, at most [Piece] of them at a time and in ascending
// offsets. On an error, which names the rank, dst holds nothing of use. It
// panics when there are no contributions.
func Sum(dst []float32, contributions []Source) error {
	n := len(contributions)
	if n == 0 {
		panic("allreduce: a sum of no contributions")
	}
	buf := make([]float32, min(Piece, len(dst)))
	for c := range n {
		lo, hi := Bounds(len(dst), n, c)
		for a, b := range pieces(lo, hi, Piece) {
			for j := range n {
				rank := (c + j) % n
				into := dst[a:b]
				if j > 0 {
					into = buf[:b-a]
				}
				if err := contributions[rank](into, a); err != nil {
					return fmt.Errorf("summing elements %d to %d of rank %d's contribution: %w", a, b, rank, err)
				}
				if j > 0 {
					add(dst[a:b], into)
				}
			}
		}
	}
	return nil
}

// add adds src to dst, element by element: the only arithmetic of this package.
func add(dst, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += src[i]
	}
}
