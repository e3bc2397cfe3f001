package cpu

import (
	"fmt"
	"testing"

	"github.com/allmend-network/allmend/trainer/devicetest"
	"github.com/allmend-network/allmend/trainer/model"
)

func TestConformance(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) {
			devicetest.Run(t, func(*testing.T) model.Device { return New(workers) })
		})
	}
}
