package model

// Buffer is a vector of float32 in a Device's memory.
type Buffer interface {
	// Len returns the number of elements.
	Len() int
	// Slice returns a view of elements lo to hi-1: the same memory.
	Slice(lo, hi int) Buffer
}

// Heads is the shape of grouped-query attention: query head j reads key-value
// head j / (Query/KV).
type Heads struct {
	Query, KV int // numbers of heads; KV divides Query
	Dim       int // width of a head, even
}

// Device computes the operations of the transformer with the bits that
// numeric profile "exact" fixes. All devices agree on every bit.
//
// Arithmetic is IEEE 754 binary32, each operation rounded to nearest even,
// subnormals kept; the pseudocode below never fuses a multiplication with an
// addition. exp, expm1, log, sqrt, softplus and sigmoid are those of package
// exact. Two kinds of sum exist:
//
//   - dot(k): one chain, k ascending, from the named start. Both operands pass
//     bf16 (exact.BF16), so that each product is exact and fusing it or not
//     gives the same bits.
//   - Σ: rule R4. 32 lanes start at +0, lane l adds elements l, l+32, l+64, …,
//     and lanes are combined by an xor butterfly 16, 8, 4, 2, 1. A sum over
//     rows runs the same rule over row numbers, counted from the first row of
//     the sequence, for each column by itself.
//
// A maximum is found by comparison a > b ? a : b, in any order: the sign of a
// maximum of zero shows in no result.
//
// What is computed in parallel, and in what order, must not show in any bit.
// Gradients of a sequence are summed from +0 over that sequence alone, and
// the sums are then added to the accumulator in sequence order.
//
// Operations may run later than they are called, but appear to run in order.
// They panic if shapes are wrong. A failure of the machine is returned by the
// next Upload or Download, and by all after it. All matrices are row-major
// and without gaps; N is the number of tokens of b. Unless stated otherwise
// outputs may not overlap inputs. A Device serves one goroutine at a time.
type Device interface {
	// Alloc returns a buffer of n zeros.
	Alloc(n int) (Buffer, error)
	// Free ends the life of a buffer from Alloc and of all its views.
	Free(x Buffer)
	// Upload copies src to dst, of equal length.
	Upload(dst Buffer, src []float32) error
	// Download copies src to dst, of equal length, after all earlier
	// operations have ended.
	Download(dst []float32, src Buffer) error

	// Zero sets all of x to +0.
	Zero(x Buffer)
	// Add computes dst[i] = a[i] + b[i]. dst may be a or b.
	Add(dst, a, b Buffer)

	// MatMul computes C = op(A)·op(B) with C [m, n], op(A) [m, k] and
	// op(B) [k, n]; with transA, A is stored as [k, m], and with transB, B as
	// [n, k].
	//
	//	acc = accumulate ? C[i,j] : +0
	//	for k ascending { acc += bf16(op(A)[i,k]) * bf16(op(B)[k,j]) }
	//	C[i,j] = acc
	MatMul(c, a Buffer, transA bool, b Buffer, transB bool, m, n, k int, accumulate bool)

	// Gather looks up embeddings: y[t] = table[b.Input[t]], with table
	// [vocabulary, width] and y [N, width].
	Gather(y, table Buffer, b *Batch, width int)
	// Scatter adds the gradient dy [N, width] of Gather to dtable. For each
	// sequence in order, and each token id that occurs in it:
	//
	//	sum = +0
	//	for t of the sequence ascending, where b.Input[t] == id { sum += dy[t] }
	//	dtable[id] += sum
	Scatter(dtable, dy Buffer, b *Batch, width int)

	// RMSNorm normalises each row of x [R, width] and keeps r [R].
	//
	//	r    = 1 / sqrt((Σ x[c]*x[c]) / width + eps)
	//	y[c] = (x[c]*r) * w[c]
	RMSNorm(y, r, x, w Buffer, eps float32)
	// RMSNormBackward writes dx [R, width] and adds to dw [width]. R is N or a
	// multiple of it: rows of one token are consecutive.
	//
	//	u[c]  = dy[c]*w[c]
	//	s     = ((((Σ u[c]*x[c]) * r) * r) * r) / width
	//	dx[c] = u[c]*r - x[c]*s
	//	dw[c] += Σ over the sequence's rows of dy[c]*(x[c]*r)
	//
	// dx may be dy.
	RMSNormBackward(dx, dw, dy, x, r, w Buffer, b *Batch)

	// Rotate applies rotary position embedding in place to x
	// [N, heads, dim]. Row p of table holds the dim/2 cosines, then the dim/2
	// sines, of position p; pairs are (i, i+dim/2).
	//
	//	c, s = table[p][i], table[p][dim/2+i]; if inverse { s = -s }
	//	x[i], x[i+dim/2] = x[i]*c - x[i+dim/2]*s, x[i+dim/2]*c + x[i]*s
	Rotate(x, table Buffer, b *Batch, heads, dim int, inverse bool)

	// Attention computes o [N, Query, Dim] from q [N, Query, Dim] and k, v
	// [N, KV, Dim], and keeps stats [N, Query, 2]. For query i, keys j run
	// from the first token of i's document to i.
	//
	//	s[j]  = scale * dot(d)(q[i], k[j]) from +0
	//	m     = max of s[j]
	//	e[j]  = exp(s[j] - m)
	//	inv   = 1 / Σ e[j], with lane (j - first token of the sequence) mod 32
	//	p[j]  = e[j] * inv
	//	o[i]  = dot(j)(p, v[·][d]) from +0
	//	stats = m, inv
	Attention(o, stats, q, k, v Buffer, b *Batch, h Heads, scale float32)
	// AttentionBackward writes dq, dk and dv, of the shapes of q, k and v. It
	// recomputes p as Attention does.
	//
	//	D[i]    = Σ_d do[i][d]*o[i][d]
	//	dp[i,j] = dot(d)(do[i], v[j]) from +0
	//	ds[i,j] = (p[i,j]*(dp[i,j] - D[i])) * scale
	//	dq[i]   = dot(j)(ds[i,·], k[·]) from +0
	//	dk[j]   = dot(i)(ds[·,j], q[·]) from +0, one chain through the query
	//	          heads of the group ascending, and within a head i ascending
	//	dv[j]   = dot(i)(p[·,j], do[·]) likewise
	//
	// A pair that the mask excludes has p = ds = +0; as a chain that starts at
	// +0 never becomes -0, leaving the pair out gives the same bits.
	AttentionBackward(dq, dk, dv, do, o, stats, q, k, v Buffer, b *Batch, h Heads, scale float32)

	// XIELU is the activation of x [N, width]. With the raw slopes
	// alpha [2] = a_p, a_n, β = XIELUBeta and ε = XIELUEps:
	//
	//	αp, αn = softplus(a_p), β + softplus(a_n)
	//	x > 0:  y = (αp*x)*x + β*x
	//	else:   y = αn*(expm1(min(x, ε)) - x) + β*x
	XIELU(y, x, alpha Buffer)
	// XIELUBackward writes dx and adds to dalpha [2].
	//
	//	x > 0:  dx = dy * ((αp+αp)*x + β);            P = dy*(x*x), Q = +0
	//	else:   dx = dy * (αn*expm1(min(x, ε)) + β);  Q = dy*(expm1(min(x, ε)) - x), P = +0
	//	dalpha[0] += sigmoid(a_p) * Σ over the sequence's rows of (Σ of P over the row)
	//	dalpha[1] += sigmoid(a_n) * Σ over the sequence's rows of (Σ of Q over the row)
	//
	// dx may be dy.
	XIELUBackward(dx, dalpha, dy, x, alpha Buffer, b *Batch)

	// CrossEntropy reads logits [R, vocabulary] of the R tokens from first on,
	// writes loss [R], and overwrites logits with their gradient. For a row
	// with label y:
	//
	//	m       = max of x[c]
	//	e[c]    = exp(x[c] - m); z = Σ e[c]
	//	loss    = (log(z) + m) - x[y]
	//	x[c]    = e[c] * (1/z), then x[y] = x[y] - 1
	//
	// Where b.Mask is 0, the loss and the whole row become +0.
	CrossEntropy(loss, logits Buffer, b *Batch, first int)

	// Finite reports whether no element of x is infinite or NaN; false also
	// if the machine failed, which Download then reports.
	Finite(x Buffer) bool
	// Close frees everything. The device is not used afterwards.
	Close() error
}
