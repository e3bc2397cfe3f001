package checkpoint

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// tensor is one entry of a safetensors header.
type tensor struct {
	name  string
	dtype string // "F32" or "I64"
	shape []int  // nil for a scalar
	write func(io.Writer) error
	read  func(io.Reader) error
}

func (t tensor) size() int64 {
	size := int64(4)
	if t.dtype == "I64" {
		size = 8
	}
	for _, n := range t.shape {
		size *= int64(n)
	}
	return size
}

// vector is a float32 tensor backed by v.
func vector(name string, shape []int, v []float32) tensor {
	return tensor{name, "F32", shape,
		func(w io.Writer) error { return writeFloats(w, v) },
		func(r io.Reader) error { return readFloats(r, v) },
	}
}

// constant is a float32 scalar that must be x.
func constant(name string, x float32) tensor {
	return tensor{name, "F32", nil,
		func(w io.Writer) error { return writeFloats(w, []float32{x}) },
		func(r io.Reader) error {
			var got [1]float32
			if err := readFloats(r, got[:]); err != nil {
				return err
			}
			if got[0] != x {
				return fmt.Errorf("is %v, want the constant %v", got[0], x)
			}
			return nil
		},
	}
}

// counter is an int64 scalar backed by n.
func counter(name string, n *uint64) tensor {
	return tensor{name, "I64", nil,
		func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, *n) },
		func(r io.Reader) error { return binary.Read(r, binary.LittleEndian, n) },
	}
}

// weightTensors are those of model.safetensors, in file order.
func (s *State) weightTensors() []tensor {
	var all []tensor
	for _, t := range s.Config.Tensors() {
		all = append(all, vector(t.Name, t.Shape, s.Params[t.Offset:t.Offset+t.Len]))
	}
	for _, c := range s.Config.Constants() {
		all = append(all, constant(c.Name, c.Value))
	}
	return all
}

// optimizerTensors are those of optimizer.safetensors, in file order.
func (s *State) optimizerTensors() []tensor {
	all := []tensor{counter(stepName, &s.Step)}
	for _, m := range s.moments() {
		for _, t := range s.Config.Tensors() {
			all = append(all, vector(m.prefix+t.Name, t.Shape, m.vector[t.Offset:t.Offset+t.Len]))
		}
	}
	return all
}

// header returns the safetensors header, 8-byte length included, of tensors
// that lie in the given order without gaps. It is padded with spaces so that
// the data starts at a multiple of 8.
func header(tensors []tensor) ([]byte, error) {
	b := []byte(`{"__metadata__":{"format":"pt"}`)
	var offset int64
	for _, t := range tensors {
		shape, err := json.Marshal(append([]int{}, t.shape...))
		if err != nil {
			return nil, err
		}
		b = fmt.Appendf(b, `,%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`,
			strconv.Quote(t.name), t.dtype, shape, offset, offset+t.size())
		offset += t.size()
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b...), nil
}

func writeTensors(w io.Writer, tensors []tensor) error {
	h, err := header(tensors)
	if err != nil {
		return err
	}
	if _, err := w.Write(h); err != nil {
		return err
	}
	for _, t := range tensors {
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}

// readTensors fills tensors from a safetensors file. There is one header that
// the model's configuration allows, and the file's must be that one: nothing
// in a hostile header is parsed, allocated for or believed.
func readTensors(r io.Reader, tensors []tensor) error {
	want, err := header(tensors)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(r, 1<<16)
	for i := range want {
		got, err := in.ReadByte()
		if err != nil {
			return fmt.Errorf("header ends at byte %d of %d: %w", i, len(want), err)
		}
		if got != want[i] {
			return fmt.Errorf("header differs at byte %d from the one its model has: want …%.60q", i, want[min(max(i-20, 8), len(want)):])
		}
	}
	for _, t := range tensors {
		if err := t.read(in); err != nil {
			return fmt.Errorf("tensor %s: %w", t.name, err)
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("data after the last tensor")
	}
	return nil
}
