package model

import (
	"math"
	"strings"

	"github.com/allmend-network/allmend/trainer/exact"
)

// Initial raw values of xIELU's two slopes: ln(expm1(0.8)) and
// ln(expm1(0.8-0.5)), with which both effective slopes are 0.8.
const (
	initAlphaP float32 = 0.2033823208
	initAlphaN float32 = -1.0502256128
)

// Init returns the initial parameters of c in the layout of Tensors. They are
// a function of c and seed alone, with the same bits on every machine.
//
// Matrices are normal with deviation init_std, except o_proj and down_proj,
// which write to the residual stream and have init_std/√(2·layers). Norm
// weights are 1. c must be valid.
func (c Config) Init(seed uint64) []float32 {
	std := mustDecimal(c.InitStd)
	residual := std / math.Sqrt(float64(2*c.NumHiddenLayers))
	params := make([]float32, c.Params())
	for i, t := range c.Tensors() {
		dst := params[t.Offset : t.Offset+t.Len]
		switch {
		case strings.HasSuffix(t.Name, "alpha_p"):
			fill(dst, initAlphaP)
		case strings.HasSuffix(t.Name, "alpha_n"):
			fill(dst, initAlphaN)
		case len(t.Shape) == 1:
			fill(dst, 1)
		case strings.HasSuffix(t.Name, "o_proj.weight"), strings.HasSuffix(t.Name, "down_proj.weight"):
			normal(dst, residual, seed, uint32(i))
		default:
			normal(dst, std, seed, uint32(i))
		}
	}
	return params
}

func fill(dst []float32, v float32) {
	for i := range dst {
		dst[i] = v
	}
}

// normal draws dst from the normal distribution of mean 0 and deviation std.
// Elements 2p and 2p+1 are the Box-Muller transform of the 53-bit uniforms of
// philox({low p, high p, stream, 0}, seed); each is rounded to float32 once.
func normal(dst []float32, std float64, seed uint64, stream uint32) {
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for p := 0; 2*p < len(dst); p++ {
		x := philox([4]uint32{uint32(p), uint32(uint64(p) >> 32), stream, 0}, key)
		u := float64(uniform53(x[0], x[1])+1) / (1 << 53) // (0, 1]: its logarithm is finite
		v := float64(uniform53(x[2], x[3])) / (1 << 53)   // [0, 1)
		radius := math.Sqrt(-2*exact.Log64(u)) * std
		angle := 2 * math.Pi * v
		dst[2*p] = float32(radius * exact.Cos64(angle))
		if 2*p+1 < len(dst) {
			dst[2*p+1] = float32(radius * exact.Sin64(angle))
		}
	}
}

func uniform53(hi, lo uint32) uint64 { return (uint64(hi)<<32 | uint64(lo)) >> 11 }
