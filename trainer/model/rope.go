package model

import (
	"math"

	"github.com/allmend-network/allmend/trainer/exact"
)

// inverseFrequencies returns the HeadDim/2 angular frequencies of rotary
// position embedding, in radians per position: θ^(-2i/h), stretched by
// rope_scaling where it is set. Each is rounded to float32 before and after
// the stretching, as Hugging Face transformers does.
func (c Config) inverseFrequencies() []float32 {
	theta := mustDecimal(c.RopeTheta)
	h := c.HeadDim()
	inv := make([]float32, h/2)
	for i := range inv {
		inv[i] = float32(1 / exact.Pow64(theta, float64(2*i)/float64(h)))
	}
	if s := c.RopeScaling; s != nil {
		s.stretch(inv)
	}
	return inv
}

// stretch divides frequencies of long wavelength by Factor, keeps those of
// short wavelength, and interpolates between.
func (s *RopeScaling) stretch(inv []float32) {
	factor := mustDecimal(s.Factor)
	low, high := mustDecimal(s.LowFreqFactor), mustDecimal(s.HighFreqFactor)
	original := float64(s.OriginalMaxPositionEmbeddings)
	for i, f32 := range inv {
		f := float64(f32)
		wavelength := 2 * math.Pi / f
		switch {
		case wavelength < original/high:
		case wavelength > original/low:
			inv[i] = float32(f / factor)
		default:
			smooth := (original/wavelength - low) / (high - low)
			slow := float64((1 - smooth) * f / factor)
			inv[i] = float32(slow + float64(smooth*f))
		}
	}
}

// ropeTable returns what Device.Rotate reads: for each position the h/2
// cosines, then the h/2 sines, of position times frequency. The product is
// rounded to float32 before the cosine, as Hugging Face transformers does.
func (c Config) ropeTable() []float32 {
	inv := c.inverseFrequencies()
	half := len(inv)
	table := make([]float32, c.MaxPositionEmbeddings*2*half)
	for p := range c.MaxPositionEmbeddings {
		row := table[p*2*half : (p+1)*2*half]
		for i, f := range inv {
			angle := float64(float32(p) * f)
			row[i] = float32(exact.Cos64(angle))
			row[half+i] = float32(exact.Sin64(angle))
		}
	}
	return table
}
