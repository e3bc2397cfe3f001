package allreduce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxPayload is the most bytes that follow a frame's header.
	MaxPayload = 1 << 20

	version    = 1
	headerSize = 20
	magic      = "ALR"
)

// A Phase is one half of a ring: 1 or 2, and 0 in frames that carry no piece.
type Phase uint8

// In ReduceScatter each chunk gathers its summands; in AllGather each completed
// chunk goes to everyone.
const (
	ReduceScatter Phase = 1
	AllGather     Phase = 2
)

// String returns the phase's name.
func (p Phase) String() string {
	switch p {
	case ReduceScatter:
		return "reduce-scatter"
	case AllGather:
		return "all-gather"
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// A Frame is one piece of a chunk on its way to the next member.
type Frame struct {
	Phase   Phase
	Step    int    // within the phase: 0 … n-2
	Offset  int    // of the piece's first element in the whole vector
	Payload []byte // the piece's elements in the run's codec; at most MaxPayload
}

func (f Frame) header() header {
	return header{typ: typeData, phase: f.Phase, step: uint16(f.Step), offset: uint64(f.Offset), length: uint32(len(f.Payload))}
}

// A FrameError says that bytes off the wire are not the one frame that had to
// come: the sender is out of step, or speaks another protocol or version. The
// stream is of no further use.
type FrameError struct {
	Field     string // of the header or the close payload
	Got, Want uint64 // the bytes' value; Want is the only right one, or the limit passed
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("bad frame: %s is %#x, want %#x", e.Field, e.Got, e.Want)
}

type frameType uint8

const (
	typeHello frameType = 1
	typeData  frameType = 2
	typeClose frameType = 3
)

// header is the first 20 bytes of a frame; the package comment has the diagram.
type header struct {
	typ    frameType
	phase  Phase
	step   uint16
	offset uint64
	length uint32
}

func (h header) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, version, byte(h.typ), byte(h.phase))
	b = binary.LittleEndian.AppendUint16(b, h.step)
	b = binary.LittleEndian.AppendUint64(b, h.offset)
	return binary.LittleEndian.AppendUint32(b, h.length)
}

// readHeader reads a header and refuses a foreign magic, another version and a
// length over MaxPayload. An error of r at the very start is io.EOF as it stands.
func readHeader(r io.Reader) (header, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, err
	}
	if string(b[:len(magic)]) != magic {
		return header{}, &FrameError{"magic", uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16, 'A' | 'L'<<8 | 'R'<<16}
	}
	if b[3] != version {
		return header{}, &FrameError{"version", uint64(b[3]), version}
	}
	h := header{
		typ:    frameType(b[4]),
		phase:  Phase(b[5]),
		step:   binary.LittleEndian.Uint16(b[6:]),
		offset: binary.LittleEndian.Uint64(b[8:]),
		length: binary.LittleEndian.Uint32(b[16:]),
	}
	if h.length > MaxPayload {
		return header{}, &FrameError{"length", uint64(h.length), MaxPayload}
	}
	return h, nil
}

// match compares h, off the wire, with the only header that may come.
func (h header) match(want header) error {
	switch {
	case h.typ != want.typ:
		return &FrameError{"type", uint64(h.typ), uint64(want.typ)}
	case h.phase != want.phase:
		return &FrameError{"phase", uint64(h.phase), uint64(want.phase)}
	case h.step != want.step:
		return &FrameError{"step", uint64(h.step), uint64(want.step)}
	case h.offset != want.offset:
		return &FrameError{"offset", h.offset, want.offset}
	case h.length != want.length:
		return &FrameError{"length", uint64(h.length), uint64(want.length)}
	}
	return nil
}

// readPayload fills payload, whose length the header has confirmed.
func readPayload(r io.Reader, payload []byte) error {
	if _, err := io.ReadFull(r, payload); err != nil {
		return truncated(err)
	}
	return nil
}

// truncated names the end of a stream that came where more bytes had to.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("stream ended without a reason: %w", io.ErrUnexpectedEOF)
	}
	return err
}
