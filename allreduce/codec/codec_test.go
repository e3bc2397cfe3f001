package codec

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"testing/quick"
)

func TestNamedRefusesOtherNames(t *testing.T) {
	c, err := Named("f32")
	if err != nil || c.Name() != "f32" {
		t.Fatalf("Named(f32) = %v, %v", c, err)
	}
	for _, name := range []string{"", "F32", "bf16", "int8", "f32 ", strings.Repeat("x", 1000)} {
		c, err := Named(name)
		if err == nil || c != nil {
			t.Fatalf("Named(%q) = %v, want an error", name, c)
		}
		if !strings.Contains(err.Error(), `only "f32"`) || len(err.Error()) > 200 {
			t.Errorf("Named(%q): %v, want a short message naming f32", name, err)
		}
	}
}

func TestF32Golden(t *testing.T) {
	src := []float32{0, float32(math.Copysign(0, -1)), 1, -2.5, math.SmallestNonzeroFloat32, math.MaxFloat32, float32(math.Inf(1))}
	const want = "00000000" + "00000080" + "0000803f" + "000020c0" + "01000000" + "ffff7f7f" + "0000807f"
	dst := make([]byte, F32{}.Size(len(src)))
	F32{}.Encode(dst, src)
	if got := hex.EncodeToString(dst); got != want {
		t.Errorf("encoded %s, want %s", got, want)
	}
}

func TestF32KeepsEveryBit(t *testing.T) {
	keeps := func(bits []uint32) bool {
		src := make([]float32, len(bits))
		for i, b := range bits {
			src[i] = math.Float32frombits(b)
		}
		buf := make([]byte, F32{}.Size(len(src)))
		F32{}.Encode(buf, src)
		dst := make([]float32, len(src))
		if err := (F32{}).Decode(dst, buf); err != nil {
			return false
		}
		for i, x := range dst {
			if math.Float32bits(x) != bits[i] {
				return false
			}
		}
		return true
	}
	if err := quick.Check(keeps, nil); err != nil {
		t.Error(err)
	}
}

func TestF32PanicsOnShapes(t *testing.T) {
	for name, f := range map[string]func(){
		"encode": func() { F32{}.Encode(make([]byte, 7), make([]float32, 2)) },
		"decode": func() { _ = F32{}.Decode(make([]float32, 2), make([]byte, 9)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s took mismatched lengths", name)
				}
			}()
			f()
		}()
	}
}

func BenchmarkF32(b *testing.B) {
	vec, buf := make([]float32, 256<<10), make([]byte, 1<<20)
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			F32{}.Encode(buf, vec)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			_ = F32{}.Decode(vec, buf)
		}
	})
	b.Run("copy", func(b *testing.B) {
		other := make([]byte, len(buf))
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			copy(other, buf)
		}
	})
}
