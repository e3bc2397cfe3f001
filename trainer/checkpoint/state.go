package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/allmend-network/allmend/trainer/exact"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
)

// State is everything a round starts from. Params, Fast, Slow and Square are
// vectors of Config.Params() elements in the layout of Config.Tensors().
type State struct {
	Config model.Config
	Step   uint64    // optimizer steps taken
	Params []float32 // weights
	Fast   []float32 // m1, the fast moving average of the gradient
	Slow   []float32 // m2, the slow one
	Square []float32 // v, the moving average of its square
}

// New returns a state with the given weights and no step taken.
func New(config model.Config, params []float32) *State {
	if len(params) != config.Params() {
		panic("checkpoint: weights do not fit the model")
	}
	n := len(params)
	return &State{config, 0, params, make([]float32, n), make([]float32, n), make([]float32, n)}
}

// Clone returns a deep copy of s.
func (s *State) Clone() *State {
	c := *s
	for _, v := range []*[]float32{&c.Params, &c.Fast, &c.Slow, &c.Square} {
		*v = append([]float32(nil), *v...)
	}
	return &c
}

// Finite reports whether every number of s is finite.
func (s *State) Finite() bool {
	return exact.Finite(s.Params) && exact.Finite(s.Fast) && exact.Finite(s.Slow) && exact.Finite(s.Square)
}

// moments returns the optimizer's vectors under the names they have on disk.
func (s *State) moments() []struct {
	prefix string
	vector []float32
} {
	return []struct {
		prefix string
		vector []float32
	}{{"m1.", s.Fast}, {"m2.", s.Slow}, {"v.", s.Square}}
}

// stepName names the scalar that holds State.Step.
const stepName = "step"

// Root returns the state root of s.
func (s *State) Root() digest.Sum {
	var leaves []digest.Sum
	tensors := s.Config.Tensors()
	add := func(name, dtype string, shape []int, sum digest.Sum) {
		leaves = append(leaves, digest.Leaf(fmt.Appendf(nil, "%s %s %s %s\n", name, dtype, shapeText(shape), sum)))
	}
	for _, t := range tensors {
		add(t.Name, "F32", t.Shape, sumFloats(s.Params[t.Offset:t.Offset+t.Len]))
	}
	for _, m := range s.moments() {
		for _, t := range tensors {
			add(m.prefix+t.Name, "F32", t.Shape, sumFloats(m.vector[t.Offset:t.Offset+t.Len]))
		}
	}
	add(stepName, "I64", nil, digest.Of(binary.LittleEndian.AppendUint64(nil, s.Step)))
	return digest.Root(leaves)
}

func shapeText(shape []int) string {
	if len(shape) == 0 {
		return "-"
	}
	var b strings.Builder
	for i, n := range shape {
		if i > 0 {
			b.WriteByte('x')
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}

func sumFloats(v []float32) digest.Sum {
	h := sha256.New()
	writeFloats(h, v) // a hash never fails
	return digest.Sum(h.Sum(nil))
}

// writeFloats writes v as little-endian IEEE 754 bits.
func writeFloats(w io.Writer, v []float32) error {
	var buf [1 << 15]byte
	for len(v) > 0 {
		n := min(len(v), len(buf)/4)
		for i, x := range v[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(x))
		}
		if _, err := w.Write(buf[:4*n]); err != nil {
			return err
		}
		v = v[n:]
	}
	return nil
}

// readFloats fills v from r.
func readFloats(r io.Reader, v []float32) error {
	var buf [1 << 15]byte
	for len(v) > 0 {
		n := min(len(v), len(buf)/4)
		if _, err := io.ReadFull(r, buf[:4*n]); err != nil {
			return err
		}
		for i := range v[:n] {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
		}
		v = v[n:]
	}
	return nil
}
