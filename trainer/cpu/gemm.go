package cpu

import (
	"sync"

	"github.com/allmend-network/allmend/trainer/exact"
)

// Matrix multiplication packs blocks of both operands into panels, rounding them to bf16 on the way, and computes
// tileRows×tileCols tiles of C from one panel of A and two of B. Blocks are sized for a 32 KiB L1 and a 1 MiB L2 cache;
// partial sums rest in C as fp32 between blocks of k, so blocking changes no bit.
const (
	tileRows   = 6 // width of a panel of A
	panelCols  = 8 // width of a panel of B
	tileCols   = 2 * panelCols
	panelSlack = 8 // floats after a panel, which 8-wide stores of 6-wide rows may write

	blockK    = 384
	blockRows = 16 * tileRows
	blockCols = 512

	// inlineBelow is the number of multiply-adds for which starting a goroutine does not pay.
	inlineBelow = 1 << 17
)

// gemm computes C = op(A)·op(B), or C += op(A)·op(B) when accumulate is set. C is m×n, op(A) m×k, op(B) k×n, all row
// major with the given strides; op transposes its argument when transA or transB is set, so A is then stored k×m and
// B n×k. It panics when a slice is too short for its shape.
//
// Operands are rounded by exact.BF16 as they are read. Each element of C starts from its old value, or +0, and takes
// the products of k = 0, 1, 2, … one by one, each addition rounded to fp32: the bits depend neither on blocking nor
// on workers, the number of goroutines that share the tiles (1 runs in the caller alone).
func gemm(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool,
	m, n, k int, accumulate bool, workers int) {
	native.gemm(matrix{c, ldc, false}, matrix{a, lda, transA}, matrix{b, ldb, transB}, m, n, k, accumulate, workers)
}

// matrix is a row-major matrix in the memory of another; transposed says that rows and columns are exchanged.
type matrix struct {
	data       []float32
	stride     int
	transposed bool
}

// at returns the matrix that begins at row i, column j.
func (x matrix) at(i, j int) matrix {
	if x.transposed {
		i, j = j, i
	}
	x.data = x.data[i*x.stride+j:]
	return x
}

// check panics unless rows×cols elements lie within the data.
func (x matrix) check(name string, rows, cols int) {
	if x.transposed {
		rows, cols = cols, rows
	}
	if rows > 0 && cols > 0 && (x.stride < cols || len(x.data) < (rows-1)*x.stride+cols) {
		panic("cpu: matrix " + name + " is smaller than its shape")
	}
}

// kernels are the inner loops. A panel of width w holds element (p, k) of its operand at k*w + p.
type kernels struct {
	// packAcross fills panels dst[0:], dst[panelStride:], … of width w from `lines` adjacent columns of src, of
	// which each of the depth rows is contiguous. A last, partial panel is padded with zeros.
	packAcross func(dst []float32, panelStride, w int, src []float32, stride, lines, depth int)

	// packAlong does the same from `lines` rows of src that are contiguous along depth. The padding of a last,
	// partial panel is unspecified but finite where src is.
	packAlong func(dst []float32, panelStride, w int, src []float32, stride, lines, depth int)

	// tiles computes `tiles` tiles of C, one below the other, from as many panels of A and two panels of B. Tiles
	// start from C when load is set, else from +0.
	tiles func(tiles, depth int, a []float32, aStride int, b []float32, bStride int, c []float32, ldc int, load bool)
}

// scratch is the packed blocks of one goroutine.
type scratch struct {
	a    [blockRows / tileRows * (tileRows*blockK + panelSlack)]float32
	b    [blockCols / panelCols * (panelCols*blockK + panelSlack)]float32
	edge [tileRows * tileCols]float32
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (kn *kernels) gemm(c, a, b matrix, m, n, k int, accumulate bool, workers int) {
	c.check("C", m, n)
	a.check("A", m, k)
	b.check("B", k, n)
	if m <= 0 || n <= 0 {
		return
	}
	if k <= 0 {
		for i := 0; i < m && !accumulate; i++ {
			clear(c.data[i*c.stride:][:n])
		}
		return
	}
	if workers <= 1 || m*n*k < inlineBelow {
		kn.strip(c, a, b, m, n, k, accumulate)
		return
	}
	kn.parallel(c, a, b, m, n, k, accumulate, workers)
}

// parallel cuts C into strips of whole tiles along its longer side, one per worker. The caller computes the last.
func (kn *kernels) parallel(c, a, b matrix, m, n, k int, accumulate bool, workers int) {
	var wg sync.WaitGroup
	if rows := ceil(m, tileRows); rows >= ceil(n, tileCols) {
		step := ceil(rows, workers) * tileRows
		for ; m > step; m -= step {
			cStrip, aStrip := c, a
			wg.Go(func() { kn.strip(cStrip, aStrip, b, step, n, k, accumulate) })
			c, a = c.at(step, 0), a.at(step, 0)
		}
	} else {
		step := ceil(ceil(n, tileCols), workers) * tileCols
		for ; n > step; n -= step {
			cStrip, bStrip := c, b
			wg.Go(func() { kn.strip(cStrip, a, bStrip, m, step, k, accumulate) })
			c, b = c.at(0, step), b.at(0, step)
		}
	}
	kn.strip(c, a, b, m, n, k, accumulate)
	wg.Wait()
}

func ceil(a, b int) int { return (a + b - 1) / b }

// strip multiplies in one goroutine.
func (kn *kernels) strip(c, a, b matrix, m, n, k int, accumulate bool) {
	s := scratches.Get().(*scratch)
	for p := 0; p < k; p += blockK {
		depth := min(k-p, blockK)
		load := accumulate || p > 0
		for j := 0; j < n; j += blockCols {
			cols := min(n-j, blockCols)
			bStride := panelCols*depth + panelSlack
			kn.pack(s.b[:], bStride, panelCols, b.at(p, j), !b.transposed, cols, depth)
			for i := 0; i < m; i += blockRows {
				rows := min(m-i, blockRows)
				aStride := tileRows*depth + panelSlack
				kn.pack(s.a[:], aStride, tileRows, a.at(i, p), a.transposed, rows, depth)
				kn.block(c.at(i, j), s, aStride, bStride, rows, cols, depth, load)
			}
		}
	}
	scratches.Put(s)
}

func (kn *kernels) pack(dst []float32, panelStride, w int, src matrix, across bool, lines, depth int) {
	if across {
		kn.packAcross(dst, panelStride, w, src.data, src.stride, lines, depth)
	} else {
		kn.packAlong(dst, panelStride, w, src.data, src.stride, lines, depth)
	}
}

// block multiplies one packed block of A with one of B into rows×cols elements of C.
func (kn *kernels) block(c matrix, s *scratch, aStride, bStride, rows, cols, depth int, load bool) {
	full := rows / tileRows
	for j := 0; j < cols; j += tileCols {
		b := s.b[j/panelCols*bStride:]
		done := 0
		if j+tileCols <= cols {
			kn.tiles(full, depth, s.a[:], aStride, b, bStride, c.data[j:], c.stride, load)
			done = full
		}
		for t := done; t*tileRows < rows; t++ {
			i := t * tileRows
			kn.edge(c.at(i, j), s, s.a[t*aStride:], b, bStride, min(rows-i, tileRows), min(cols-j, tileCols), depth, load)
		}
	}
}

// edge computes a tile that C holds only rows×cols elements of.
func (kn *kernels) edge(c matrix, s *scratch, a, b []float32, bStride, rows, cols, depth int, load bool) {
	for i := range rows {
		copy(s.edge[i*tileCols:][:cols], c.data[i*c.stride:])
	}
	kn.tiles(1, depth, a, 0, b, bStride, s.edge[:], tileCols, load)
	for i := range rows {
		copy(c.data[i*c.stride:][:cols], s.edge[i*tileCols:])
	}
}

// portable is the kernels in plain Go: what every machine can run, and the definition of the others.
var portable = kernels{packAcrossGo, packAlongGo, tilesGo}

func packAcrossGo(dst []float32, panelStride, w int, src []float32, stride, lines, depth int) {
	for p := 0; p < lines; p += w {
		panel := dst[p/w*panelStride:]
		width := min(w, lines-p)
		for k := range depth {
			row := panel[k*w:][:w]
			for i, x := range src[k*stride+p:][:width] {
				row[i] = exact.BF16(x)
			}
			clear(row[width:])
		}
	}
}

func packAlongGo(dst []float32, panelStride, w int, src []float32, stride, lines, depth int) {
	for p := 0; p < lines; p += w {
		panel := dst[p/w*panelStride:][:w*depth]
		for i := range w {
			line := min(p+i, lines-1) // repeats the last line as padding
			for k, x := range src[line*stride:][:depth] {
				panel[k*w+i] = exact.BF16(x)
			}
		}
	}
}
