package run

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// feistelRounds is the number of rounds of the permutation below: 4 make a
// Feistel network hard to tell from random on large domains; small data sets
// have small domains, so there are twice as many.
const feistelRounds = 8

// Sample returns which sample of the shards stands at a position of the run's
// stream: in epoch position / Sequences, the seeded bijection of
// [0, Sequences) applied to position mod Sequences.
//
// The bijection is a balanced Feistel network on the smallest even number of
// bits that holds Sequences, its round function the first 8 bytes, big endian,
// of SHA-256("allmend order 1" ‖ seed ‖ epoch ‖ round ‖ half), each a 64-bit
// big-endian integer, applied again until the value is below Sequences.
func Sample(spec Spec, position uint64) uint64 {
	n := uint64(spec.Sequences)
	epoch, x := position/n, position%n
	half := max(1, (bits.Len64(n-1)+1)/2)
	for {
		x = feistel(uint64(spec.DataSeed), epoch, x, half)
		if x < n {
			return x
		}
	}
}

// feistel permutes the integers of 2·half bits.
func feistel(seed, epoch, x uint64, half int) uint64 {
	const label = "allmend order 1"
	var b [len(label) + 32]byte
	copy(b[:], label)
	binary.BigEndian.PutUint64(b[len(label):], seed)
	binary.BigEndian.PutUint64(b[len(label)+8:], epoch)
	mask := uint64(1)<<half - 1
	left, right := x>>half, x&mask
	for i := range uint64(feistelRounds) {
		binary.BigEndian.PutUint64(b[len(label)+16:], i)
		binary.BigEndian.PutUint64(b[len(label)+24:], right)
		sum := sha256.Sum256(b[:])
		left, right = right, left^binary.BigEndian.Uint64(sum[:])&mask
	}
	return left<<half | right
}
