// Package devicetest is the conformance suite of model.Device: what a device
// must compute, to the last bit, before it may take part in a run.
//
// Each operation is compared with a scalar device that follows the interface's
// pseudocode one element at a time, and with a golden digest, so that neither
// can drift alone. Whole training steps are compared in the same way, cut into
// calls of different sizes, and against a float64 model without any rounding.
package devicetest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/allmend-network/allmend/trainer/model"
)

// Run tests the devices that open returns, one for each test; Run closes them.
func Run(t *testing.T, open func(t *testing.T) model.Device) {
	for _, procs := range []int{1, 2} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			each := func(name string, test func(t *testing.T, dev model.Device)) {
				t.Run(name, func(t *testing.T) {
					dev := open(t)
					t.Cleanup(func() {
						if err := dev.Close(); err != nil {
							t.Errorf("close: %v", err)
						}
					})
					test(t, dev)
				})
			}
			for _, op := range operations {
				each(op.name, func(t *testing.T, dev model.Device) { checkOperation(t, dev, op) })
			}
			each("memory", checkMemory)
			each("step", checkStep)
			each("batches", checkBatches)
			each("resume", checkResume)
			each("nonfinite", checkNonFinite)
			each("loss", checkLoss)
			each("reference", checkReference)
		})
	}
}

// rig runs operations on one device with inputs that depend on nothing but
// the operation's name and the order of calls.
type rig struct {
	t     *testing.T
	dev   model.Device
	state uint64
}

func newRig(t *testing.T, dev model.Device, name string) *rig {
	h := sha256.Sum256([]byte(name))
	return &rig{t: t, dev: dev, state: binary.LittleEndian.Uint64(h[:])}
}

// next is SplitMix64 (Steele, Lea and Flood, 2014).
func (r *rig) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns n values in [-size, size).
func (r *rig) uniform(n int, size float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(float32(int32(r.next()>>32))/(1<<31)) * size
	}
	return x
}

// awkward are values that careless arithmetic gets wrong: signed zeros,
// subnormals, the flush limit of bf16, ties between bf16 neighbours, and
// pairs that cancel.
var awkward = []float32{
	0, float32(math.Copysign(0, -1)),
	0x1p-149, -0x1p-149, 0x1.8p-127, -0x1.8p-127,
	0x1p-60, 0x1.fffffep-61, -0x1p-60, -0x1p-62,
	0x1.01p0, 0x1.03p0, -0x1.01p0, 0x1.010002p0, 0x1.fffffep0,
	0x1p20, -0x1p20, 0x1.fep20, -0x1.fep20,
	1, -1, 0x1p-20, -0x1p-20,
}

// hard returns n values, of which every fifth is awkward.
func (r *rig) hard(n int, size float32) []float32 {
	x := r.uniform(n, size)
	for i := range x {
		if pick := r.next(); pick%5 == 0 {
			x[i] = awkward[pick>>8%uint64(len(awkward))]
		}
	}
	return x
}

// put uploads x to a new buffer.
func (r *rig) put(x []float32) model.Buffer {
	r.t.Helper()
	b, err := r.dev.Alloc(len(x))
	if err != nil {
		r.t.Fatalf("alloc %d: %v", len(x), err)
	}
	if err := r.dev.Upload(b, x); err != nil {
		r.t.Fatalf("upload %d: %v", len(x), err)
	}
	return b
}

// get downloads buffers one after another.
func (r *rig) get(buffers []model.Buffer) []float32 {
	r.t.Helper()
	var all []float32
	for _, b := range buffers {
		x := make([]float32, b.Len())
		if err := r.dev.Download(x, b); err != nil {
			r.t.Fatalf("download %d: %v", len(x), err)
		}
		all = append(all, x...)
	}
	return all
}

// digest is the SHA-256 of little-endian float32.
func digest(x []float32) string {
	h := sha256.New()
	for _, v := range x {
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkGolden compares x with the digest under name.
func checkGolden(t *testing.T, name string, x []float32) {
	t.Helper()
	if got, want := digest(x), golden[name]; got != want {
		t.Errorf("digest of %q is %s, want %q", name, got, want)
	}
}

// sameBits reports the first of got that differs from want.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %g (%#08x), want %g (%#08x)", what, i,
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

func checkOperation(t *testing.T, dev model.Device, op operation) {
	device := newRig(t, dev, op.name)
	oracle := newRig(t, scalar{}, op.name)
	got, want := device.get(op.run(device)), oracle.get(op.run(oracle))
	sameBits(t, op.name, got, want)
	checkGolden(t, op.name, got)
}

// checkMemory tests views, zeroing and finiteness.
func checkMemory(t *testing.T, dev model.Device) {
	r := newRig(t, dev, "memory")
	x := r.put(r.uniform(100, 1))
	dev.Zero(x.Slice(10, 20))
	for i, v := range r.get([]model.Buffer{x}) {
		if zero := i >= 10 && i < 20; zero != (math.Float32bits(v) == 0) {
			t.Errorf("element %d is %g after zeroing 10 to 19", i, v)
		}
	}
	if x.Slice(5, 25).Slice(1, 3).Len() != 2 {
		t.Error("a view of a view has the wrong length")
	}
	for _, v := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		y := r.uniform(70000, 1)
		if !dev.Finite(r.put(y)) {
			t.Error("finite numbers are called non-finite")
		}
		y[69999] = float32(v)
		if dev.Finite(r.put(y)) {
			t.Errorf("%g is called finite", v)
		}
	}
	fresh, err := dev.Alloc(50)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.get([]model.Buffer{fresh}) {
		if math.Float32bits(v) != 0 {
			t.Error("a new buffer is not zero")
		}
	}
	dev.Free(fresh)
}
