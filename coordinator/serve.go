package coordinator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/allmend-network/allmend/coordinator/state"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
	"github.com/hashicorp/raft"
)

// serverIdle is how long a connection may carry nothing before it is closed.
const serverIdle = 30 * time.Second

// serve accepts connections until close. It owns one goroutine for each.
func (t *transport) serve() error {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("coordinators can no longer reach this one: %w", err)
		}
		w := newWire(conn)
		t.mu.Lock()
		closed := t.ctx.Err() != nil
		if !closed {
			t.open[w] = true
			t.serving.Add(1)
		}
		t.mu.Unlock()
		if closed {
			return conn.Close()
		}
		go t.serveConn(w)
	}
}

func (t *transport) serveConn(w *wire) {
	defer t.serving.Done()
	defer t.discard(w)
	sender, err := identity.ParseAddress(w.peer)
	for err == nil {
		err = t.serveOne(w, sender)
	}
	if !errors.Is(err, io.EOF) && t.ctx.Err() == nil {
		t.logger.Warn("closed a coordinator's connection", "coordinator", w.peer, "error", err)
	}
}

// serveOne reads one request and answers it. An error closes the connection.
func (t *transport) serveOne(w *wire, sender identity.Address) error {
	if err := w.conn.SetReadDeadline(time.Now().Add(serverIdle)); err != nil {
		return err
	}
	kind, err := w.r.ReadByte()
	if err != nil {
		return io.EOF // the other side, or nobody, had nothing more to say
	}
	if err := w.conn.SetReadDeadline(time.Now().Add(t.timeout)); err != nil {
		return err
	}
	var a answer
	switch kind {
	case kindPropose, kindHead:
		a, err = t.serveStatement(w.r, kind, sender)
	default:
		a, err = t.serveRaft(w, kind)
	}
	if err != nil {
		return errors.Join(err, t.reply(w, answer{Error: err.Error()}))
	}
	if err := t.reply(w, a); err != nil {
		return err
	}
	if kind == kindInstall {
		return io.EOF
	}
	return nil
}

func (t *transport) reply(w *wire, a answer) error {
	return errors.Join(w.conn.SetWriteDeadline(time.Now().Add(t.timeout)), writeJSON(w.w, a), w.w.Flush())
}

func (t *transport) serveStatement(r *bufio.Reader, kind byte, sender identity.Address) (answer, error) {
	b, err := readFrame(r, run.MaxStatementSize)
	if err != nil {
		return answer{}, err
	}
	if kind == kindHead {
		err = t.head(sender, b)
	} else {
		err = t.propose(t.ctx, sender, b)
	}
	if err == nil {
		return answer{}, nil
	}
	var refused *state.Refused
	return answer{Error: err.Error(), Refused: errors.As(err, &refused)}, nil
}

// serveRaft reads a raft request, checks it, hands it to raft and returns the
// response.
func (t *transport) serveRaft(w *wire, kind byte) (answer, error) {
	rpc, err := t.readRaft(w, kind)
	if err != nil {
		return answer{}, err
	}
	responses := make(chan raft.RPCResponse, 1)
	rpc.RespChan = responses
	if handle := t.heartbeatFor(rpc); handle != nil {
		handle(rpc)
	} else {
		select {
		case t.requests <- rpc:
		case <-t.ctx.Done():
			return answer{}, t.ctx.Err()
		}
	}
	select {
	case response := <-responses:
		if response.Error != nil {
			return answer{Error: response.Error.Error()}, nil
		}
		b, err := json.Marshal(response.Response)
		return answer{Response: b}, err
	case <-t.ctx.Done():
		return answer{}, t.ctx.Err()
	}
}

// heartbeatFor returns raft's fast path for an append that carries nothing, so
// that it does not wait behind a slow disk.
func (t *transport) heartbeatFor(rpc raft.RPC) func(raft.RPC) {
	request, ok := rpc.Command.(*raft.AppendEntriesRequest)
	if !ok || len(request.Entries) > 0 || request.PrevLogEntry != 0 || request.PrevLogTerm != 0 || request.LeaderCommitIndex != 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heartbeat
}

func (t *transport) readRaft(w *wire, kind byte) (raft.RPC, error) {
	switch kind {
	case kindAppend:
		request, err := readAppend(w.r)
		if err != nil {
			return raft.RPC{}, fmt.Errorf("append: %w", err)
		}
		return raft.RPC{Command: request}, t.guard.request(w.peer, request.RPCHeader, request.Term)
	case kindVote:
		var request raft.RequestVoteRequest
		if err := readJSON(w.r, &request); err != nil {
			return raft.RPC{}, fmt.Errorf("vote: %w", err)
		}
		return raft.RPC{Command: &request}, t.guard.request(w.peer, request.RPCHeader, request.Term)
	case kindPreVote:
		var request raft.RequestPreVoteRequest
		if err := readJSON(w.r, &request); err != nil {
			return raft.RPC{}, fmt.Errorf("pre-vote: %w", err)
		}
		return raft.RPC{Command: &request}, t.guard.request(w.peer, request.RPCHeader, request.Term)
	case kindInstall:
		return t.readInstall(w)
	case kindTimeoutNow:
		var request raft.TimeoutNowRequest
		if err := readJSON(w.r, &request); err != nil {
			return raft.RPC{}, fmt.Errorf("timeout-now: %w", err)
		}
		return raft.RPC{Command: &request}, t.guard.leader(w.peer, request.RPCHeader)
	}
	return raft.RPC{}, fmt.Errorf("request of unknown kind %d", kind)
}

func (t *transport) readInstall(w *wire) (raft.RPC, error) {
	var request raft.InstallSnapshotRequest
	if err := readJSON(w.r, &request); err != nil {
		return raft.RPC{}, fmt.Errorf("snapshot: %w", err)
	}
	if request.Size < 0 || request.Size > maxSnapshot {
		return raft.RPC{}, fmt.Errorf("snapshot of %d bytes, at most %d are allowed", request.Size, int64(maxSnapshot))
	}
	stream := io.LimitReader(&pacedReader{w, t.timeout}, request.Size)
	return raft.RPC{Command: &request, Reader: stream}, t.guard.request(w.peer, request.RPCHeader, request.Term)
}

// pacedReader moves the read deadline on before each read.
type pacedReader struct {
	w       *wire
	timeout time.Duration
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if err := p.w.conn.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.w.r.Read(b)
}
