package cpu

import (
	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
)

// CrossEntropy writes the loss of each row of logits, which become their own
// gradient.
func (d *Device) CrossEntropy(loss, logits model.Buffer, b *model.Batch, first int) {
	rows := loss.Len()
	width := logits.Len() / max(rows, 1)
	match("logits", logits.Len(), rows*width)
	out, x := floats(loss), floats(logits)
	d.parallel(rows, 8*width, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := x[i*width : (i+1)*width]
			if b.Mask[first+i] == 0 {
				clear(row)
				out[i] = 0
				continue
			}
			out[i] = crossEntropy(row, int(b.Label[first+i]))
		}
	})
}

func crossEntropy(row []float32, label int) float32 {
	target := row[label]
	m := maximum(row)
	expScaled(row, row, 1, m)
	z := sum(row)
	inv := 1 / z
	for c := range row {
		row[c] *= inv
	}
	row[label]--
	return (exact.Log(z) + m) - target
}
