package run

import (
	"encoding/json"
	"math"

	"github.com/allmend-network/allmend/trainer/exact"
)

// Scalars are the optimizer's numbers at one step. Their JSON is the bits of
// each float32.
type Scalars struct {
	LearningRate float32
	Bias1        float32 // 1 / (1 − β1^t): scales m1
	Bias2        float32 // 1 / √(1 − β2^t): scales √v
	Beta3        float32 // β3(t)
	Alpha        float32 // α(t)
}

type scalarsJSON struct {
	LearningRate uint32 `json:"learning_rate"`
	Bias1        uint32 `json:"bias1"`
	Bias2        uint32 `json:"bias2"`
	Beta3        uint32 `json:"beta3"`
	Alpha        uint32 `json:"alpha"`
}

// MarshalJSON implements [json.Marshaler].
func (s Scalars) MarshalJSON() ([]byte, error) {
	return json.Marshal(scalarsJSON{
		math.Float32bits(s.LearningRate), math.Float32bits(s.Bias1), math.Float32bits(s.Bias2),
		math.Float32bits(s.Beta3), math.Float32bits(s.Alpha),
	})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Scalars) UnmarshalJSON(b []byte) error {
	var j scalarsJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Scalars{
		math.Float32frombits(j.LearningRate), math.Float32frombits(j.Bias1), math.Float32frombits(j.Bias2),
		math.Float32frombits(j.Beta3), math.Float32frombits(j.Alpha),
	}
	return nil
}

// Schedule returns the scalars of a step: the number, from 1, of the closed,
// not void rounds including the one that it is for. They are computed in
// float64 from the Spec's float32 values with trainer/exact and rounded once.
// Spec must be valid.
func Schedule(spec Spec, step uint64) Scalars {
	o, t := spec.Optimizer, float64(step)
	beta1, beta2 := fraction(o.Beta1), fraction(o.Beta2)
	return Scalars{
		LearningRate: float32(learningRate(spec, t)),
		Bias1:        float32(1 / (1 - exact.Pow64(beta1, t))),
		Bias2:        float32(1 / math.Sqrt(1-exact.Pow64(beta2, t))),
		Beta3:        float32(beta3(o, t)),
		Alpha:        float32(alpha(o, t)),
	}
}

// fraction is [Fraction] for a Spec that passed Validate.
func fraction(text string) float64 {
	f, err := Fraction(text)
	if err != nil {
		panic("run: spec was not validated: " + err.Error())
	}
	return float64(f)
}

// learningRate warms up linearly over Warmup steps, stays, and falls by
// 1 − √x to MinRate over the last Decay steps.
func learningRate(spec Spec, t float64) float64 {
	o := spec.Optimizer
	top, bottom := fraction(o.LearningRate), fraction(o.MinRate)
	warmup, decay := float64(o.Warmup), float64(o.Decay)
	rate := top
	if t < warmup {
		rate = float64(top*t) / warmup
	}
	start := float64(spec.Rounds) - decay
	if decay > 0 && t > start {
		x := min(1, (t-start)/decay)
		cooled := bottom + float64((1-math.Sqrt(x))*(top-bottom))
		rate = min(rate, cooled)
	}
	return rate
}

// alpha grows linearly over AlphaWarmup steps.
func alpha(o Optimizer, t float64) float64 {
	top, over := fraction(o.Alpha), float64(o.AlphaWarmup)
	if t < over {
		return float64(top*t) / over
	}
	return top
}

// beta3 goes from β1 to β3 over Beta3Warmup steps, linearly in half-life:
// F(b) = ln ½ / ln(b + 1e-8) − 1 and F⁻¹(u) = ½^(1/(u+1)).
func beta3(o Optimizer, t float64) float64 {
	top, over := fraction(o.Beta3), float64(o.Beta3Warmup)
	if t >= over {
		return top
	}
	half := exact.Log64(0.5)
	halfLife := func(b float64) float64 { return half/exact.Log64(b+1e-8) - 1 }
	x := t / over
	u := float64((1-x)*halfLife(fraction(o.Beta1))) + float64(x*halfLife(top))
	return exact.Pow64(0.5, 1/(u+1))
}
