package model

// philox is the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror
// and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011): a keyed
// bijection of the counter, so that any element of a random tensor can be
// drawn alone, in any order, on any machine.
func philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	const (
		multiply0, multiply1 = 0xD2511F53, 0xCD9E8D57
		weyl0, weyl1         = 0x9E3779B9, 0xBB67AE85
	)
	for range 10 {
		p0 := uint64(multiply0) * uint64(counter[0])
		p1 := uint64(multiply1) * uint64(counter[2])
		counter = [4]uint32{
			uint32(p1>>32) ^ counter[1] ^ key[0], uint32(p1),
			uint32(p0>>32) ^ counter[3] ^ key[1], uint32(p0),
		}
		key[0] += weyl0
		key[1] += weyl1
	}
	return counter
}
