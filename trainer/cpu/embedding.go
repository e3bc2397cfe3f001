package cpu

import (
	"slices"

	"github.com/allmend-network/allmend/trainer/model"
)

// Gather looks up a row of table for each token.
func (d *Device) Gather(y, table model.Buffer, b *model.Batch, width int) {
	match("gather", y.Len(), b.Tokens()*width)
	out, rows := floats(y), floats(table)
	for t, id := range b.Input {
		copy(out[t*width:(t+1)*width], rows[int(id)*width:(int(id)+1)*width])
	}
}

// Scatter adds to dtable, sequence by sequence, the sum of each token's rows
// of dy.
func (d *Device) Scatter(dtable, dy model.Buffer, b *model.Batch, width int) {
	match("scatter", dy.Len(), b.Tokens()*width)
	out, rows := floats(dtable), floats(dy)
	sum := make([]float32, width)
	for s := range b.Sequences() {
		lo, hi := b.Span(s)
		for _, occurrences := range groups(b.Input[lo:hi]) {
			clear(sum)
			for _, t := range occurrences {
				row := rows[(lo+t)*width : (lo+t+1)*width]
				addTo(sum, sum, row)
			}
			id := int(b.Input[lo+occurrences[0]])
			dst := out[id*width : (id+1)*width]
			addTo(dst, dst, sum)
		}
	}
}

// groups returns the positions of each distinct id, ascending within a group.
func groups(ids []int32) [][]int {
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(ids[a]) - int(ids[b]) })
	var all [][]int
	for len(order) > 0 {
		n := 1
		for n < len(order) && ids[order[n]] == ids[order[0]] {
			n++
		}
		all = append(all, order[:n])
		order = order[n:]
	}
	return all
}
