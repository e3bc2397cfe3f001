package coordinator

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// A request between coordinators is
//
//	kind    1 byte, see below
//	head    frame: JSON, at most maxHead bytes
//	bodies  as many frames as the head says, at most maxBodies of maxBody bytes
//	stream  kindInstall only: as many raw bytes as the head says
//
// and its answer is one frame of JSON, at most maxHead bytes. A frame is its
// length as a big-endian uint32 and that many bytes. See docs/protocols.md.
const (
	kindAppend byte = 1 + iota
	kindVote
	kindPreVote
	kindInstall
	kindTimeoutNow
	kindPropose
	kindHead
)

// Limits of a request. The largest, an append, is within 8 MiB.
const (
	maxHead     = 64 << 10
	maxBody     = 127 << 10 // a command of 64 KiB in base64, and its log entry's fields
	maxBodies   = 64        // raft.Config.MaxAppendEntries
	maxSnapshot = 16 << 30
)

// wire is one connection between two coordinators. It is used by one
// goroutine at a time.
type wire struct {
	conn   net.Conn
	peer   string // authenticated by the Network
	r      *bufio.Reader
	w      *bufio.Writer
	pooled time.Time // since when it has been idle
}

func newWire(conn net.Conn) *wire {
	return &wire{conn: conn, peer: conn.RemoteAddr().String(), r: bufio.NewReader(conn), w: bufio.NewWriter(conn)}
}

// readFrame reads a frame of at most limit bytes.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("frame length: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if int64(n) > int64(limit) {
		return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("frame of %d bytes: %w", n, err)
	}
	return b, nil
}

func writeFrame(w io.Writer, b []byte, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("frame of %d bytes, at most %d are allowed", len(b), limit)
	}
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(b)))
	if _, err := w.Write(size[:]); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

func readJSON(r io.Reader, v any) error {
	b, err := readFrame(r, maxHead)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, b, maxHead)
}

// appendHead is the head of kindAppend; its Request has no entries, they
// follow as bodies.
type appendHead struct {
	Request raft.AppendEntriesRequest
	Entries int
}

func writeAppend(w io.Writer, request *raft.AppendEntriesRequest) error {
	head := appendHead{*request, len(request.Entries)}
	head.Request.Entries = nil
	if err := writeJSON(w, head); err != nil {
		return err
	}
	for _, entry := range request.Entries {
		b, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		if err := writeFrame(w, b, maxBody); err != nil {
			return fmt.Errorf("log entry %d: %w", entry.Index, err)
		}
	}
	return nil
}

func readAppend(r io.Reader) (*raft.AppendEntriesRequest, error) {
	var head appendHead
	if err := readJSON(r, &head); err != nil {
		return nil, err
	}
	if head.Entries < 0 || head.Entries > maxBodies || len(head.Request.Entries) > 0 {
		return nil, fmt.Errorf("append of %d entries, at most %d are allowed", head.Entries, maxBodies)
	}
	request := head.Request
	for range head.Entries {
		b, err := readFrame(r, maxBody)
		if err != nil {
			return nil, err
		}
		entry := new(raft.Log)
		if err := json.Unmarshal(b, entry); err != nil {
			return nil, fmt.Errorf("log entry: %w", err)
		}
		request.Entries = append(request.Entries, entry)
	}
	return &request, nil
}

// answer is what comes back for any request.
type answer struct {
	Error    string          `json:",omitempty"`
	Refused  bool            `json:",omitempty"` // the state machine refused the statement: Error says why
	Response json.RawMessage `json:",omitempty"` // of a raft request
}
