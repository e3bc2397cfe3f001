package node

import (
	"testing"
	"time"
)

// burn uses processor time.
func burn(d time.Duration) {
	for began := processorTime(); processorTime()-began < d; {
	}
}

// TestWorkIsProgress demands that work without a counter of its own, as
// applying and hashing a state are, moves one; and that waiting does not.
func TestWorkIsProgress(t *testing.T) {
	p := newPulse()
	p.begin(phaseApply, 7)
	burn(2 * workStep)
	if now, _ := p.get(); now.Step < 1 {
		t.Errorf("after %s of work: step %d", 2*workStep, now.Step)
	}
	for _, phase := range []string{phaseRing, phaseFinished} {
		p.begin(phase, 7)
		burn(2 * workStep)
		if now, _ := p.get(); now.Step != 0 {
			t.Errorf("%s: step %d", phase, now.Step)
		}
	}
}
