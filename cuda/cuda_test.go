package cuda

import (
	"errors"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/trainer/devicetest"
	"github.com/allmend-network/allmend/trainer/model"
)

// A GPU, where there is one, has the bits of every other device.
func TestConformance(t *testing.T) {
	dev, err := Open(0)
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	devicetest.Run(t, func(t *testing.T) model.Device {
		dev, err := Open(0)
		if err != nil {
			t.Fatal(err)
		}
		return dev
	})
}

func TestOpenSaysWhy(t *testing.T) {
	_, err := Open(0)
	if err == nil {
		t.Skip("there is a GPU")
	}
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no CUDA kernels") {
		t.Errorf("error is %v", err)
	}
}
