package model

import (
	"math"
	"testing"
)

// Check values derived from the released configurations, head dimension 128.
func TestInverseFrequencies(t *testing.T) {
	for _, v := range []struct {
		theta               string
		kept, mixed, slowed int
		inv31, inv63        float64
	}{
		{"500000", 29, 6, 29, 8.567514e-4, 3.068926e-7},
		{"12000000", 23, 6, 35, 4.655128e-5, 1.3438196e-8},
	} {
		c := apertus8B()
		c.RopeTheta = v.theta
		got := c.inverseFrequencies()
		c.RopeScaling = nil
		plain := c.inverseFrequencies()
		var kept, mixed, slowed int
		for i := range got {
			switch got[i] {
			case plain[i]:
				kept++
			case plain[i] / 8:
				slowed++
			default:
				mixed++
			}
		}
		if kept != v.kept || mixed != v.mixed || slowed != v.slowed {
			t.Errorf("theta %s: %d kept, %d mixed, %d slowed", v.theta, kept, mixed, slowed)
		}
		for i, want := range map[int]float64{31: v.inv31, 63: v.inv63} {
			if math.Abs(float64(got[i])/want-1) > 5e-7 {
				t.Errorf("theta %s: inverse frequency %d is %g, want %g", v.theta, i, got[i], want)
			}
		}
	}
}

func TestRopeTable(t *testing.T) {
	table, inv := small.ropeTable(), small.inverseFrequencies()
	h := small.HeadDim()
	for p := range small.MaxPositionEmbeddings {
		for i, f := range inv {
			angle := float64(float32(p) * f)
			if got, want := float64(table[p*h+i]), math.Cos(angle); math.Abs(got-want) > 1e-7 {
				t.Errorf("cosine of position %d, pair %d is %g, want %g", p, i, got, want)
			}
			if got, want := float64(table[p*h+h/2+i]), math.Sin(angle); math.Abs(got-want) > 1e-7 {
				t.Errorf("sine of position %d, pair %d is %g, want %g", p, i, got, want)
			}
		}
	}
}
