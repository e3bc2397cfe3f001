// Package cpu is the model.Device of ordinary processors, in Go with assembly
// where it pays.
//
// It is the reference: other devices must return its bits. Work is spread over
// outputs, never over a sum, so the number of workers shows in no bit.
package cpu

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
)

// Device computes on the machine's processors.
type Device struct {
	workers int
}

var _ model.Device = (*Device)(nil)

// New returns a Device that keeps up to workers processors busy at a time; 0
// means as many as the process may use.
func New(workers int) *Device {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &Device{workers: workers}
}

// vector is the Buffer of a Device.
type vector []float32

func (v vector) Len() int { return len(v) }

func (v vector) Slice(lo, hi int) model.Buffer { return v[lo:hi:hi] }

// floats returns the memory of b, which must come from a Device of this
// package.
func floats(b model.Buffer) []float32 { return b.(vector) }

// maxAlloc bounds one allocation, so that an impossible configuration is an
// error and no crash.
const maxAlloc = 1 << 36

// Alloc returns a buffer of n zeros.
func (d *Device) Alloc(n int) (model.Buffer, error) {
	if n < 0 || n > maxAlloc {
		return nil, fmt.Errorf("cpu: cannot allocate %d numbers", n)
	}
	return make(vector, n), nil
}

// Free leaves x to the garbage collector.
func (d *Device) Free(model.Buffer) {}

// Upload copies src to dst.
func (d *Device) Upload(dst model.Buffer, src []float32) error {
	match("upload", dst.Len(), len(src))
	copy(floats(dst), src)
	return nil
}

// Download copies src to dst.
func (d *Device) Download(dst []float32, src model.Buffer) error {
	match("download", len(dst), src.Len())
	copy(dst, floats(src))
	return nil
}

// Zero sets all of x to +0.
func (d *Device) Zero(x model.Buffer) { clear(floats(x)) }

// Add computes dst = a + b.
func (d *Device) Add(dst, a, b model.Buffer) {
	match("add", a.Len(), dst.Len())
	match("add", b.Len(), dst.Len())
	out, x, y := floats(dst), floats(a), floats(b)
	d.parallel(len(out), 1, func(lo, hi int) {
		addTo(out[lo:hi], x[lo:hi], y[lo:hi])
	})
}

func addTo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

// MatMul computes C = op(A)·op(B), or adds it to C.
func (d *Device) MatMul(c, a model.Buffer, transA bool, b model.Buffer, transB bool, m, n, k int, accumulate bool) {
	match("matmul C", c.Len(), m*n)
	match("matmul A", a.Len(), m*k)
	match("matmul B", b.Len(), k*n)
	lda, ldb := k, n
	if transA {
		lda = m
	}
	if transB {
		ldb = k
	}
	gemm(floats(c), n, floats(a), lda, transA, floats(b), ldb, transB, m, n, k, accumulate, d.workers)
}

// Finite reports whether x holds neither infinity nor NaN.
func (d *Device) Finite(x model.Buffer) bool {
	v := floats(x)
	var bad atomic.Bool
	d.parallel(len(v), 1, func(lo, hi int) {
		if !exact.Finite(v[lo:hi]) {
			bad.Store(true)
		}
	})
	return !bad.Load()
}

// Close does nothing: memory is the garbage collector's.
func (d *Device) Close() error { return nil }

// grain is the least number of elements that is worth a goroutine.
const grain = 1 << 14

// parallel calls f for up to d.workers consecutive parts of 0..n-1, and
// returns when all have. An item is about width elements of work; items must
// be independent.
func (d *Device) parallel(n, width int, f func(lo, hi int)) {
	parts := min(d.workers, n, 1+n*width/grain)
	if parts <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() { f(n*p/parts, n*(p+1)/parts) })
	}
	wg.Wait()
}

// match panics if an operand has not the size the others imply.
func match(what string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("cpu: %s has %d elements, want %d", what, got, want))
	}
}
