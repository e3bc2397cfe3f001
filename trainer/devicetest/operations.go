package devicetest

import (
	"fmt"

	"github.com/allmend-network/allmend/trainer/model"
)

// operation is one call, or a few of a kind, and the buffers it wrote.
type operation struct {
	name string
	run  func(r *rig) []model.Buffer
}

var operations = append([]operation{
	{"add", runAdd},
	{"gather", runGather},
	{"scatter", runScatter},
	{"rmsnorm", runRMSNorm},
	{"rmsnorm backward", runRMSNormBackward},
	{"rotate", runRotate},
	{"attention", runAttention},
	{"attention backward", runAttentionBackward},
	{"xielu", runXIELU},
	{"xielu backward", runXIELUBackward},
	{"cross entropy", runCrossEntropy},
}, matMuls()...)

// testBatch has sequences of awkward lengths, with documents that begin at
// their start, in a row, and at the last token.
func testBatch(vocabulary int) *model.Batch {
	c := tinyConfig
	c.VocabSize, c.MaxPositionEmbeddings = vocabulary, 256
	var all []model.Sequence
	for i, n := range []int{5, 1, 150, 33, 64} {
		all = append(all, packed(c, 1, uint32(i), n)...)
	}
	b, err := model.NewBatch(c, all)
	if err != nil {
		panic(err)
	}
	return b
}

func runAdd(r *rig) []model.Buffer {
	a, b := r.put(r.hard(40000, 1)), r.put(r.hard(40000, 1))
	c := r.put(r.uniform(40000, 1))
	r.dev.Add(c, a, b)
	r.dev.Add(a, a, b)
	return []model.Buffer{c, a}
}

// matMuls covers every combination of flags, with sizes that no tile divides.
func matMuls() []operation {
	var all []operation
	for _, size := range [][3]int{{1, 1, 1}, {7, 17, 33}, {70, 50, 129}, {64, 96, 64}} {
		m, n, k := size[0], size[1], size[2]
		all = append(all, operation{
			name: fmt.Sprintf("matmul %dx%dx%d", m, n, k),
			run: func(r *rig) []model.Buffer {
				var results []model.Buffer
				for flags := range 8 {
					a, b, c := r.put(r.hard(m*k, 1)), r.put(r.hard(k*n, 1)), r.put(r.hard(m*n, 1))
					r.dev.MatMul(c, a, flags&1 != 0, b, flags&2 != 0, m, n, k, flags&4 != 0)
					results = append(results, c)
				}
				return results
			},
		})
	}
	return all
}

func runGather(r *rig) []model.Buffer {
	const vocabulary, width = 40, 12
	b := testBatch(vocabulary)
	y := r.put(make([]float32, b.Tokens()*width))
	r.dev.Gather(y, r.put(r.hard(vocabulary*width, 1)), b, width)
	return []model.Buffer{y}
}

func runScatter(r *rig) []model.Buffer {
	const vocabulary, width = 40, 12
	b := testBatch(vocabulary)
	table := r.put(r.hard(vocabulary*width, 1))
	r.dev.Scatter(table, r.put(r.hard(b.Tokens()*width, 1)), b, width)
	return []model.Buffer{table}
}

func runRMSNorm(r *rig) []model.Buffer {
	const rows, width = 253, 70
	x := r.put(r.hard(rows*width, 1))
	r.dev.Zero(x.Slice(3*width, 4*width)) // a row of zeros
	y, inv := r.put(make([]float32, rows*width)), r.put(make([]float32, rows))
	r.dev.RMSNorm(y, inv, x, r.put(r.uniform(width, 2)), 1e-5)
	return []model.Buffer{y, inv}
}

func runRMSNormBackward(r *rig) []model.Buffer {
	b := testBatch(40)
	const heads, width = 3, 24
	rows := heads * b.Tokens()
	x, dy, w := r.put(r.uniform(rows*width, 2)), r.put(r.hard(rows*width, 1)), r.put(r.uniform(width, 2))
	y, inv := r.put(make([]float32, rows*width)), r.put(make([]float32, rows))
	r.dev.RMSNorm(y, inv, x, w, 1e-5)
	dx, dw := r.put(make([]float32, rows*width)), r.put(r.uniform(width, 1))
	r.dev.RMSNormBackward(dx, dw, dy, x, inv, w, b)
	r.dev.RMSNormBackward(dy, dw, dy, x, inv, w, b) // in place, and dw adds up
	return []model.Buffer{dx, dw, dy}
}

func runRotate(r *rig) []model.Buffer {
	b := testBatch(40)
	const heads, dim = 3, 10
	table := r.put(r.uniform(256*dim, 1))
	x, y := r.put(r.hard(b.Tokens()*heads*dim, 3)), r.put(r.hard(b.Tokens()*heads*dim, 3))
	r.dev.Rotate(x, table, b, heads, dim, false)
	r.dev.Rotate(y, table, b, heads, dim, true)
	return []model.Buffer{x, y}
}

func runAttention(r *rig) []model.Buffer {
	_, _, o, stats, _ := attend(r)
	r.dev.Add(stats, stats, r.put(make([]float32, stats.Len()))) // the sign of a zero maximum is free
	return []model.Buffer{o, stats}
}

// attend runs attention on hard inputs and returns everything it touched.
func attend(r *rig) (b *model.Batch, h model.Heads, o, stats model.Buffer, qkv [3]model.Buffer) {
	b, h = testBatch(40), model.Heads{Query: 4, KV: 2, Dim: 10}
	query, kv := b.Tokens()*h.Query*h.Dim, b.Tokens()*h.KV*h.Dim
	qkv = [3]model.Buffer{r.put(r.uniform(query, 3)), r.put(r.uniform(kv, 3)), r.put(r.hard(kv, 1))}
	o, stats = r.put(make([]float32, query)), r.put(make([]float32, b.Tokens()*h.Query*2))
	r.dev.Attention(o, stats, qkv[0], qkv[1], qkv[2], b, h, 0.3162278)
	return b, h, o, stats, qkv
}

func runAttentionBackward(r *rig) []model.Buffer {
	b, h, o, stats, qkv := attend(r)
	query, kv := b.Tokens()*h.Query*h.Dim, b.Tokens()*h.KV*h.Dim
	do := r.put(r.hard(query, 1))
	dq, dk, dv := r.put(r.uniform(query, 1)), r.put(r.uniform(kv, 1)), r.put(r.uniform(kv, 1))
	r.dev.AttentionBackward(dq, dk, dv, do, o, stats, qkv[0], qkv[1], qkv[2], b, h, 0.3162278)
	return []model.Buffer{dq, dk, dv}
}

func runXIELU(r *rig) []model.Buffer {
	const n = 30000
	y := r.put(make([]float32, n))
	r.dev.XIELU(y, r.put(r.hard(n, 6)), r.put([]float32{0.2033823208, -1.0502256128}))
	return []model.Buffer{y}
}

func runXIELUBackward(r *rig) []model.Buffer {
	b := testBatch(40)
	const width = 90
	n := b.Tokens() * width
	x, dy, alpha := r.put(r.hard(n, 6)), r.put(r.uniform(n, 1)), r.put([]float32{0.25, -0.75})
	dx, dalpha := r.put(make([]float32, n)), r.put([]float32{1, -2})
	r.dev.XIELUBackward(dx, dalpha, dy, x, alpha, b)
	r.dev.XIELUBackward(dy, dalpha, dy, x, alpha, b) // in place, and dalpha adds up
	return []model.Buffer{dx, dalpha, dy}
}

func runCrossEntropy(r *rig) []model.Buffer {
	const vocabulary, first, rows = 83, 7, 200
	b := testBatch(vocabulary)
	logits, loss := r.put(r.uniform(rows*vocabulary, 20)), r.put(make([]float32, rows))
	wild, wildLoss := r.put(r.hard(rows*vocabulary, 1e4)), r.put(make([]float32, rows))
	r.dev.CrossEntropy(loss, logits, b, first)
	r.dev.CrossEntropy(wildLoss, wild, b, first)
	return []model.Buffer{loss, logits, wildLoss, wild}
}
