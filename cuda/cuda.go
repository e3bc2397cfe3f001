// Package cuda is the model.Device of NVIDIA GPUs.
//
// So far it is the seam only: Open says why there is no device. The kernels
// that will stand behind it must pass trainer/devicetest, which its test runs
// as soon as Open succeeds; until then everything trains on trainer/cpu.
package cuda

import (
	"errors"
	"fmt"

	"github.com/allmend-network/allmend/trainer/model"
)

// ErrUnavailable is what Open's errors wrap when this binary cannot compute on
// a GPU.
var ErrUnavailable = errors.New("cuda: no GPU device")

// Open returns the GPU with the given index, in the order of the driver.
//
// Its error wraps ErrUnavailable and names the reason.
func Open(index int) (model.Device, error) {
	return nil, fmt.Errorf("%w: GPU %d cannot be used because this build has no CUDA kernels; train on the CPU instead", ErrUnavailable, index)
}
