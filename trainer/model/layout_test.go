package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

// floatsBuffer is a Buffer without a device.
type floatsBuffer []float32

func (b floatsBuffer) Len() int                { return len(b) }
func (b floatsBuffer) Slice(lo, hi int) Buffer { return b[lo:hi] }

func TestTensors(t *testing.T) {
	offset := 0
	names := map[string]bool{}
	for _, tensor := range small.Tensors() {
		n := 1
		for _, s := range tensor.Shape {
			n *= s
		}
		if tensor.Len != n || tensor.Offset != offset || names[tensor.Name] {
			t.Errorf("%+v does not follow at %d", tensor, offset)
		}
		offset += n
		names[tensor.Name] = true
	}
	if offset != small.Params() {
		t.Errorf("tensors have %d elements, want %d", offset, small.Params())
	}
	for _, c := range small.Constants() {
		if names[c.Name] {
			t.Errorf("%s is both trained and constant", c.Name)
		}
	}
	if got := small.Constants(); len(got) != 6 || got[5] != (Constant{"model.layers.2.mlp.act_fn.eps", -1e-6}) {
		t.Errorf("constants are %v", got)
	}
}

// The views of weights name the same elements as Tensors.
func TestWeightsFollowLayout(t *testing.T) {
	p := make(floatsBuffer, small.Params())
	for i, tensor := range small.Tensors() {
		for j := range tensor.Len {
			p[tensor.Offset+j] = float32(i)
		}
	}
	w := small.weights(p)
	value := func(b Buffer) float32 { return b.(floatsBuffer)[0] }
	l := w.layers[1]
	for i, b := range []Buffer{l.attentionNorm, l.q, l.k, l.v, l.o, l.qNorm, l.kNorm, l.mlpNorm, l.up, l.down, l.alpha} {
		if value(b) != float32(1+12+i) {
			t.Errorf("view %d of layer 1 is tensor %g", i, value(b))
		}
	}
	if value(l.alpha.Slice(1, 2)) != 1+12+11 || value(w.norm) != 37 || value(w.head) != 38 {
		t.Error("alpha_n, norm or head lie elsewhere")
	}
}

func TestPhilox(t *testing.T) {
	const ones = 0xffffffff
	for _, v := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{ // known answers of the authors' library
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
	} {
		if got := philox(v.counter, v.key); got != v.want {
			t.Errorf("philox(%x, %x) = %x, want %x", v.counter, v.key, got, v.want)
		}
	}
}

func TestInit(t *testing.T) {
	p := small.Init(28)
	h := sha256.New()
	for _, v := range p {
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	const golden = "8266e158dc4028ae744de8077dec76a956b0c634f7d1a0cee7b3710941cbdfaa"
	if got := hex.EncodeToString(h.Sum(nil)); got != golden {
		t.Errorf("digest of the initial parameters is %s, want %s", got, golden)
	}
	for _, tensor := range small.Tensors() {
		x := p[tensor.Offset : tensor.Offset+tensor.Len]
		if len(tensor.Shape) == 1 {
			want := map[string]float32{"alpha_p": initAlphaP, "alpha_n": initAlphaN}[tensor.Name[len(tensor.Name)-7:]]
			if want == 0 {
				want = 1
			}
			if x[0] != want || x[len(x)-1] != want {
				t.Errorf("%s starts with %g, want %g", tensor.Name, x[0], want)
			}
		}
	}
}

// Large tensors have the stated deviation, and residual ones less.
func TestInitDeviation(t *testing.T) {
	c := small
	c.HiddenSize, c.IntermediateSize, c.VocabSize = 96, 300, 500
	p := c.Init(1)
	for _, tensor := range c.Tensors() {
		if len(tensor.Shape) == 1 {
			continue
		}
		var sum, square float64
		for _, v := range p[tensor.Offset : tensor.Offset+tensor.Len] {
			sum += float64(v)
			square += float64(v) * float64(v)
		}
		want := 0.02
		if strings.Contains(tensor.Name, "o_proj") || strings.Contains(tensor.Name, "down_proj") {
			want /= math.Sqrt(6)
		}
		n := float64(tensor.Len)
		if got := math.Sqrt(square / n); math.Abs(got/want-1) > 4/math.Sqrt(2*n) {
			t.Errorf("%s has deviation %g, want %g", tensor.Name, got, want)
		}
		if mean := sum / n; math.Abs(mean) > 4*want/math.Sqrt(n) {
			t.Errorf("%s has mean %g", tensor.Name, mean)
		}
	}
}
