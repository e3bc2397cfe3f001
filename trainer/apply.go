package trainer

import (
	"fmt"
	"math"

	"github.com/allmend-network/allmend/trainer/checkpoint"
	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/run"
)

// Apply takes one optimizer step in place: reduced is the sum of all
// contributions in layout order, targets the number of supervised tokens behind
// it, s the round's [run.Schedule]. It is a pure function of its arguments and
// leaves state alone if it fails.
//
// In this order, each operation rounded to float32:
//
//	g ← reduced · (1 / targets)
//	n = √ Σ over tensors (Σ g²)                  sums by rule R4
//	g ← g · (clip / n)                           if n > clip
//
// and for each element, AdEMAMix (arXiv 2409.03137) with decay inside:
//
//	m1 ← β1·m1 + (1−β1)·g
//	m2 ← β3·m2 + (1−β3)·g
//	v  ← β2·v + (1−β2)·(g·g)
//	u  = (m1·Bias1 + α·m2) / (√v·Bias2 + ε) + λ·θ
//	θ  ← θ − lr·u
//
// λ is 0 for tensors of one dimension: norms and the xIELU alphas.
func Apply(spec run.Spec, state *checkpoint.State, reduced []float32, targets uint64, s run.Scalars) error {
	if len(reduced) != len(state.Params) {
		return fmt.Errorf("reduced vector has %d elements, the model %d parameters", len(reduced), len(state.Params))
	}
	if !exact.Finite(reduced) {
		return &model.NonFiniteError{What: "the reduced vector"}
	}
	c, err := coefficients(spec, s)
	if err != nil {
		return err
	}
	c.scale = gradientScale(spec.Model, reduced, targets, c.clip)
	next := state.Clone()
	for _, t := range spec.Model.Tensors() {
		decay := c.decay
		if len(t.Shape) < 2 {
			decay = 0
		}
		i, j := t.Offset, t.Offset+t.Len
		c.step(next.Params[i:j], next.Fast[i:j], next.Slow[i:j], next.Square[i:j], reduced[i:j], decay)
	}
	if !next.Finite() {
		return &model.NonFiniteError{What: "the state after the step"}
	}
	next.Step++
	*state = *next
	return nil
}

// factors are the float32 constants of one step.
type factors struct {
	beta1, beta2, beta3  float32
	rest1, rest2, rest3  float32 // 1 − β
	bias1, bias2, alpha  float32
	epsilon, decay, rate float32
	clip                 float32
	scale                [2]float32 // the two factors of the gradient, in order
}

func coefficients(spec run.Spec, s run.Scalars) (factors, error) {
	o := spec.Optimizer
	c := factors{bias1: s.Bias1, bias2: s.Bias2, beta3: s.Beta3, rest3: 1 - s.Beta3, alpha: s.Alpha, rate: s.LearningRate}
	for _, f := range []struct {
		text string
		to   *float32
	}{{o.Beta1, &c.beta1}, {o.Beta2, &c.beta2}, {o.Epsilon, &c.epsilon}, {o.WeightDecay, &c.decay}, {o.Clip, &c.clip}} {
		var err error
		if *f.to, err = run.Fraction(f.text); err != nil {
			return c, err
		}
	}
	c.rest1, c.rest2 = 1-c.beta1, 1-c.beta2
	return c, nil
}

// gradientScale returns 1/targets and the clipping factor. A round without
// targets leaves the gradient, which is zero, as it is.
func gradientScale(config model.Config, reduced []float32, targets uint64, clip float32) [2]float32 {
	scale := [2]float32{1, 1}
	if targets > 0 {
		scale[0] = 1 / float32(targets)
	}
	var squares []float32
	scaled := make([]float32, 0)
	for _, t := range config.Tensors() {
		scaled = scaled[:0]
		for _, g := range reduced[t.Offset : t.Offset+t.Len] {
			scaled = append(scaled, g*scale[0])
		}
		squares = append(squares, exact.SumSquares(scaled))
	}
	if norm := exact.Sqrt(exact.Sum(squares)); norm > clip && norm <= math.MaxFloat32 {
		scale[1] = clip / norm
	}
	return scale
}

// step updates one tensor. The explicit conversions forbid the compiler to fuse
// a product and a sum.
func (c *factors) step(theta, m1, m2, v, reduced []float32, decay float32) {
	for i, g := range reduced {
		g = float32(float32(g*c.scale[0]) * c.scale[1])
		m1[i] = float32(c.beta1*m1[i]) + float32(c.rest1*g)
		m2[i] = float32(c.beta3*m2[i]) + float32(c.rest3*g)
		v[i] = float32(c.beta2*v[i]) + float32(c.rest2*float32(g*g))
		above := float32(m1[i]*c.bias1) + float32(c.alpha*m2[i])
		below := float32(exact.Sqrt(v[i])*c.bias2) + c.epsilon
		u := above/below + float32(decay*theta[i])
		theta[i] -= float32(c.rate * u)
	}
}
