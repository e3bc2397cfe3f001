package goldfish

// mersenne is the generator MT19937 (Matsumoto and Nishimura, 1998).
type mersenne struct {
	state [624]uint32
	at    int
}

// newMersenne returns a generator seeded by a 32-bit number, as init_genrand
// of the authors' 2002 version does.
func newMersenne(seed uint32) *mersenne {
	g := &mersenne{at: 624}
	g.state[0] = seed
	for i := 1; i < len(g.state); i++ {
		before := g.state[i-1]
		g.state[i] = 1812433253*(before^before>>30) + uint32(i)
	}
	return g
}

// next returns 32 random bits.
func (g *mersenne) next() uint32 {
	if g.at == len(g.state) {
		g.twist()
	}
	y := g.state[g.at]
	g.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// twist makes the next 624 words of state.
func (g *mersenne) twist() {
	n := len(g.state)
	for i := range g.state {
		y := g.state[i]&(1<<31) | g.state[(i+1)%n]&(1<<31-1)
		g.state[i] = g.state[(i+397)%n] ^ y>>1
		if y&1 == 1 {
			g.state[i] ^= 0x9908b0df
		}
	}
	g.at = 0
}
