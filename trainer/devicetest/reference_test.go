package devicetest

import (
	"errors"
	"math"
	"testing"

	"github.com/allmend-network/allmend/trainer/model"
)

// The reference's gradient is that of its loss: central differences agree for
// a few elements of every tensor.
func TestReferenceGradient(t *testing.T) {
	c := tinyConfig
	seqs := packed(c, 3, 3, 11)
	params := widen(c.Init(3))
	for i := range params {
		params[i] *= 1 + float64(i%7)/16 // away from symmetric starts
	}
	_, gradient := Reference(c, params, seqs)
	total := func() float64 {
		loss, _ := Reference(c, params, seqs)
		sum := 0.0
		for _, l := range loss {
			sum += l
		}
		return sum
	}
	for _, tensor := range c.Tensors() {
		for i := 0; i < tensor.Len; i += 1 + tensor.Len/5 {
			at := tensor.Offset + i
			saved, h := params[at], 1e-5
			params[at] = saved + h
			up := total()
			params[at] = saved - h
			down := total()
			params[at] = saved
			want := (up - down) / (2 * h)
			if got := gradient[at]; math.Abs(got-want) > 1e-7+1e-6*math.Abs(want) {
				t.Errorf("%s[%d]: gradient %g, difference quotient %g", tensor.Name, i, got, want)
			}
		}
	}
}

// The vectors of xIELU at its initial slopes, derived from the paper.
func TestReferenceXIELU(t *testing.T) {
	for _, v := range [][5]float64{
		{-3, 0.139829655, -0.260170345, 0, 0.531267460},
		{-2, -0.091731773, -0.191731773, 0, 0.294258219},
		{-1, -0.205696447, -0.005696447, 0, 0.095347648},
		{-0.5, -0.164775472, 0.185224528, 0, 0.027610806},
		{0.5, 0.45, 1.3, 0.137667759, 0},
		{1, 1.3, 2.1, 0.550671036, 0},
		{2, 4.2, 3.7, 2.202684144, 0},
	} {
		m := reference{
			p: map[string][]float64{"alpha_p": {0.2033823208}, "alpha_n": {-1.0502256128}},
			g: map[string][]float64{"alpha_p": {0}, "alpha_n": {0}},
		}
		y, back := m.xielu("", matrix{{v[0]}})
		dx := back(matrix{{1}})
		got := [4]float64{y[0][0], dx[0][0], m.g["alpha_p"][0], m.g["alpha_n"][0]}
		for i, g := range got {
			if math.Abs(g-v[i+1]) > 2e-9 {
				t.Errorf("xIELU at %g: value %d is %.9f, want %.9f", v[0], i, g, v[i+1])
			}
		}
	}
}

// Without rounding to bf16 only float32's own errors are left, which shows
// that the scalar device's formulas are right and that Tolerance is spent on
// bf16 alone.
func TestScalarAgreesWithReference(t *testing.T) {
	t.Run("unrounded", func(t *testing.T) { compareWithReference(t, scalar{unrounded: true}, 1e-5) })
	t.Run("bf16", func(t *testing.T) { compareWithReference(t, scalar{}, Tolerance) })
}

// The scalar device itself has the golden digests.
func TestScalarOperations(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) { checkOperation(t, scalar{}, op) })
	}
	t.Run("batches", func(t *testing.T) { checkBatches(t, scalar{}) })
	t.Run("loss", func(t *testing.T) { checkLoss(t, scalar{}) })
}

// broken is a device whose machine fails after the last operation.
type broken struct{ scalar }

var errBroken = errors.New("the machine caught fire")

func (broken) Finite(model.Buffer) bool { return false }
func (broken) Download(x []float32, b model.Buffer) error {
	if len(x) == 1 {
		return errBroken
	}
	return scalar{}.Download(x, b)
}

// A failed machine is not mistaken for a gradient that is not finite.
func TestMachineFailure(t *testing.T) {
	_, err := open(t, broken{}, tinyConfig).Accumulate(packed(tinyConfig, 1, 1, 5))
	if !errors.Is(err, errBroken) {
		t.Errorf("error is %v", err)
	}
}

var _ model.Device = scalar{}
