package devicetest

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/allmend-network/allmend/trainer/model"
)

// tinyConfig is a model small enough for finite differences and scalar loops.
var tinyConfig = model.Config{
	VocabSize: 23, HiddenSize: 16, IntermediateSize: 24, NumHiddenLayers: 2,
	NumAttentionHeads: 4, NumKeyValueHeads: 2, MaxPositionEmbeddings: 1024,
	RopeTheta: "500", RMSNormEps: "1e-5", InitStd: "0.3",
}

// millionConfig is the demo's model, of 1.1 million parameters.
var millionConfig = model.Config{
	VocabSize: 2048, HiddenSize: 128, IntermediateSize: 384, NumHiddenLayers: 4,
	NumAttentionHeads: 4, NumKeyValueHeads: 2, MaxPositionEmbeddings: 128,
	RopeTheta: "500000", RMSNormEps: "1e-5", InitStd: "0.02",
}

// packed returns n sequences of the given length, with a document's end about
// every eleventh token and about every ninth label left out.
func packed(c model.Config, n int, seed uint32, length int) []model.Sequence {
	state := seed*2654435761 + 12345
	next := func(n int) int {
		state = state*1664525 + 1013904223
		return int(state>>8) % n
	}
	var all []model.Sequence
	for range n {
		tokens, mask := make([]int32, length+1), make([]byte, length)
		for t := range tokens {
			tokens[t] = int32(model.EndOfText)
			if next(11) != 0 {
				tokens[t] = int32(next(c.VocabSize))
			}
		}
		for t := range mask {
			if next(9) != 0 {
				mask[t] = 1
			}
		}
		all = append(all, model.NewSequence(tokens, mask))
	}
	return all
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// open returns a model of c on dev with initial parameters.
func open(t *testing.T, dev model.Device, c model.Config) *model.Model {
	t.Helper()
	m, err := model.New(c, dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.SetParams(c.Init(7)); err != nil {
		t.Fatal(err)
	}
	return m
}

// accumulate returns the losses of seqs, then their gradient.
func accumulate(t *testing.T, m *model.Model, seqs []model.Sequence, perCall int) []float32 {
	t.Helper()
	var losses []float32
	m.Zero()
	for part := range slices.Chunk(seqs, perCall) {
		loss, err := m.Accumulate(part)
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, loss...)
	}
	return append(losses, gradient(t, m)...)
}

func gradient(t *testing.T, m *model.Model) []float32 {
	t.Helper()
	g := make([]float32, m.Config().Params())
	if err := m.Gradient(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// checkStep compares losses and gradients with the scalar device's and with
// golden digests; the demo's model, where scalar loops are too slow, with
// golden digests only.
func checkStep(t *testing.T, dev model.Device) {
	seqs := packed(tinyConfig, 3, 1, 40)
	got := accumulate(t, open(t, dev, tinyConfig), seqs, 3)
	sameBits(t, "step", got, accumulate(t, open(t, scalar{}, tinyConfig), seqs, 3))
	checkGolden(t, "step", got)
	million := packed(millionConfig, 3, 2, 128)
	checkGolden(t, "step of a million parameters", accumulate(t, open(t, dev, millionConfig), million, 3))
}

// checkBatches cuts eight sequences, more than the model batches at a time
// and of unequal lengths, into calls of 1, 3 and 8.
func checkBatches(t *testing.T, dev model.Device) {
	var seqs []model.Sequence
	for i, n := range []int{100, 200, 3, 600, 64, 65, 128, 1} {
		seqs = append(seqs, packed(tinyConfig, 1, uint32(i), n)...)
	}
	m := open(t, dev, tinyConfig)
	want := accumulate(t, m, seqs, 1)
	for _, n := range []int{3, 8} {
		sameBits(t, "gradient of another split", accumulate(t, m, seqs, n), want)
	}
	checkGolden(t, "batches", want)
}

// checkResume continues a gradient on a second model of the same device kind.
func checkResume(t *testing.T, dev model.Device) {
	seqs := packed(tinyConfig, 4, 5, 30)
	m := open(t, dev, tinyConfig)
	want := accumulate(t, m, seqs, 4)[len(seqs):]
	half := accumulate(t, m, seqs[:2], 2)[2:]
	m.Zero()
	if err := m.SetGradient(half); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Accumulate(seqs[2:]); err != nil {
		t.Fatal(err)
	}
	sameBits(t, "resumed gradient", gradient(t, m), want)
}

// checkNonFinite makes a model overflow.
func checkNonFinite(t *testing.T, dev model.Device) {
	m := open(t, dev, tinyConfig)
	p := tinyConfig.Init(7)
	p[3] = float32(math.NaN())
	var bad *model.NonFiniteError
	if err := m.SetParams(p); !errors.As(err, &bad) || bad.What != "model.embed_tokens.weight" {
		t.Errorf("NaN among the parameters: %v", err)
	}
	p = tinyConfig.Init(7)
	for i := range p {
		p[i] *= 1e19
	}
	if err := m.SetParams(p); err != nil {
		t.Fatal(err)
	}
	if loss, err := m.Accumulate(packed(tinyConfig, 1, 1, 20)); !errors.As(err, &bad) {
		t.Errorf("huge parameters: loss %v, error %v", loss, err)
	}
}

// checkLoss compares the forward pass alone with training's, and the logits
// of a prefix with the loss of its last token.
func checkLoss(t *testing.T, dev model.Device) {
	seqs := packed(tinyConfig, 3, 9, 50)
	m := open(t, dev, tinyConfig)
	want := accumulate(t, m, seqs, 3)[:3]
	got, err := m.Loss(seqs)
	if err != nil {
		t.Fatal(err)
	}
	sameBits(t, "loss", got, want)
	logits, err := m.Logits(seqs[0].Input)
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "logits", logits)
	last := seqs[0]
	last.Mask = make([]byte, len(last.Input))
	last.Mask[len(last.Mask)-1] = 1
	if got, err = m.Loss([]model.Sequence{last}); err != nil {
		t.Fatal(err)
	}
	z := 0.0
	for _, v := range logits {
		z += math.Exp(float64(v))
	}
	if want := math.Log(z) - float64(logits[last.Label[len(last.Label)-1]]); math.Abs(float64(got[0])-want) > 1e-5 {
		t.Errorf("logits of the last token give loss %g, the model says %g", want, got[0])
	}
}

// Tolerance is how far a device's gradient may be from the reference's, as the
// relative L2 distance of each tensor; all alphas count as one tensor, because
// a single one may happen to be near 0.
//
// Operands of matrix products carry 8 significant bits: a relative error of at
// most 2⁻⁹, some 0.0011 in root mean square. Errors of a sum's terms are
// independent, so that a product of matrices errs by about 0.0016 of its size.
// A gradient passes some 20 products on its way through this model, which
// gives 0.007; where large terms cancel, as in softmax and in the gradient of
// a norm, the same error is a larger part of what is left. The exact profile
// measures 0.020 at worst; its formulas without the rounding of operands
// measure 0.000001, so that all of it is bf16's.
const Tolerance = 0.04

// checkReference compares losses and gradients with float64 mathematics.
func checkReference(t *testing.T, dev model.Device) {
	compareWithReference(t, dev, Tolerance)
}

func compareWithReference(t *testing.T, dev model.Device, tolerance float64) {
	c := tinyConfig
	c.InitStd = "0.02"
	worst := 0.0
	check := func(name string, got []float32, want []float64) {
		relative := distance(got, want)
		worst = max(worst, relative)
		if relative > tolerance {
			t.Errorf("%s is %.6f from the reference, want at most %g", name, relative, tolerance)
		}
	}
	for seed := range uint32(3) {
		if seed == 2 { // a wavelength of each kind: kept, and in between
			c.RopeScaling = &model.RopeScaling{Factor: "8", LowFreqFactor: "1", HighFreqFactor: "4", OriginalMaxPositionEmbeddings: 256}
		}
		seqs := packed(c, 8, seed, 24)
		loss, want := Reference(c, widen(c.Init(7)), seqs)
		got := accumulate(t, open(t, dev, c), seqs, 8)
		check("loss", got[:8], loss)
		got = got[8:]
		var gotAlpha []float32
		var wantAlpha []float64
		for _, tensor := range c.Tensors() {
			lo, hi := tensor.Offset, tensor.Offset+tensor.Len
			if tensor.Len == 1 {
				gotAlpha, wantAlpha = append(gotAlpha, got[lo]), append(wantAlpha, want[lo])
				continue
			}
			check("gradient of "+tensor.Name, got[lo:hi], want[lo:hi])
		}
		check("gradient of alphas", gotAlpha, wantAlpha)
	}
	t.Logf("the worst tensor's gradient is %.6f from the reference", worst)
}

// distance returns |got - want| / |want| in the L2 norm.
func distance(got []float32, want []float64) float64 {
	var difference, norm float64
	for i, w := range want {
		d := float64(got[i]) - w
		difference += d * d
		norm += w * w
	}
	return math.Sqrt(difference / norm)
}
