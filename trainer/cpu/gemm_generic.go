package cpu

// tilesGo computes a tile as 2×4 pieces, whose eight sums fit the registers of every machine.
func tilesGo(tiles, depth int, a []float32, aStride int, b []float32, bStride int, c []float32, ldc int, load bool) {
	for t := range tiles {
		for i := 0; i < tileRows; i += 2 {
			for j := 0; j < tileCols; j += 4 {
				at := (t*tileRows+i)*ldc + j
				bPiece := b[j/panelCols*bStride+j%panelCols:]
				pieceGo(depth, a[t*aStride+i:], bPiece, c[at:][:4], c[at+ldc:][:4], load)
			}
		}
	}
}

// pieceGo adds the products of two columns of a panel of A and four of a panel of B to two rows of C. The explicit
// conversions only keep compilers from fusing; with bf16 operands the bits would be the same (see exact.BF16).
func pieceGo(depth int, a, b, c0, c1 []float32, load bool) {
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	if load {
		s00, s01, s02, s03 = c0[0], c0[1], c0[2], c0[3]
		s10, s11, s12, s13 = c1[0], c1[1], c1[2], c1[3]
	}
	for k := range depth {
		x, y := a[k*tileRows:][:2], b[k*panelCols:][:4]
		x0, x1 := x[0], x[1]
		s00 += float32(x0 * y[0])
		s01 += float32(x0 * y[1])
		s02 += float32(x0 * y[2])
		s03 += float32(x0 * y[3])
		s10 += float32(x1 * y[0])
		s11 += float32(x1 * y[1])
		s12 += float32(x1 * y[2])
		s13 += float32(x1 * y[3])
	}
	c0[0], c0[1], c0[2], c0[3] = s00, s01, s02, s03
	c1[0], c1[1], c1[2], c1[3] = s10, s11, s12, s13
}
