package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/hashicorp/raft"
)

// Network connects coordinators. The node gives one over libp2p.
//
// Contract: a connection's RemoteAddr().String() is the other side's address
// as [identity.Address.String] writes it, authenticated by its key.
// Connections honour deadlines.
type Network interface {
	// Listen returns the listener of connections that other coordinators
	// dial. It is called once.
	Listen() (net.Listener, error)
	Dial(ctx context.Context, to identity.Address) (net.Conn, error)
}

// poolSize is how many idle connections to one coordinator are kept; one is
// for heartbeats. A pool of none would dial for each request and so cause
// elections.
const poolSize = 3

const poolIdle = 20 * time.Second // the server hangs up after serverIdle

// transport implements [raft.Transport] over a Network with bounded frames,
// authenticated senders and bounded terms (guard), and carries two requests
// more: a proposal to the leader, and a head.
type transport struct {
	network  Network
	listener net.Listener
	self     identity.Address
	timeout  time.Duration // of one request
	logger   *slog.Logger
	guard    *guard
	requests chan raft.RPC
	propose  func(ctx context.Context, from identity.Address, statement []byte) error // set before serve
	head     func(from identity.Address, statement []byte) error                      // set before serve
	ctx      context.Context                                                          // ends with close
	cancel   context.CancelFunc
	serving  sync.WaitGroup

	mu        sync.Mutex // guards the fields below
	idle      map[string][]*wire
	open      map[*wire]bool // accepted and dialled connections
	heartbeat func(raft.RPC)
}

func newTransport(self identity.Address, network Network, g *guard, timeout time.Duration, logger *slog.Logger) (*transport, error) {
	listener, err := network.Listen()
	if err != nil {
		return nil, fmt.Errorf("listening for coordinators: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &transport{
		network: network, listener: listener, self: self, timeout: timeout, logger: logger, guard: g,
		requests: make(chan raft.RPC), ctx: ctx, cancel: cancel,
		idle: map[string][]*wire{}, open: map[*wire]bool{},
	}, nil
}

// Consumer implements [raft.Transport].
func (t *transport) Consumer() <-chan raft.RPC { return t.requests }

// LocalAddr implements [raft.Transport].
func (t *transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.self.String()) }

// EncodePeer implements [raft.Transport].
func (t *transport) EncodePeer(id raft.ServerID, _ raft.ServerAddress) []byte { return []byte(id) }

// DecodePeer implements [raft.Transport].
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements [raft.Transport].
func (t *transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heartbeat = handle
}

// AppendEntriesPipeline implements [raft.Transport]. One request at a time is
// fast enough here: a round has a handful of entries.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries implements [raft.Transport].
func (t *transport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, request *raft.AppendEntriesRequest, response *raft.AppendEntriesResponse) error {
	err := t.call(id, kindAppend, func(w io.Writer) error { return writeAppend(w, request) }, response)
	return errors.Join(err, t.guard.response(id, response.RPCHeader, response.Term, err))
}

// RequestVote implements [raft.Transport].
func (t *transport) RequestVote(id raft.ServerID, _ raft.ServerAddress, request *raft.RequestVoteRequest, response *raft.RequestVoteResponse) error {
	err := t.call(id, kindVote, func(w io.Writer) error { return writeJSON(w, request) }, response)
	return errors.Join(err, t.guard.response(id, response.RPCHeader, response.Term, err))
}

// RequestPreVote implements [raft.WithPreVote].
func (t *transport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, request *raft.RequestPreVoteRequest, response *raft.RequestPreVoteResponse) error {
	err := t.call(id, kindPreVote, func(w io.Writer) error { return writeJSON(w, request) }, response)
	return errors.Join(err, t.guard.response(id, response.RPCHeader, response.Term, err))
}

// InstallSnapshot implements [raft.Transport].
func (t *transport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, request *raft.InstallSnapshotRequest, response *raft.InstallSnapshotResponse, data io.Reader) error {
	err := t.call(id, kindInstall, func(w io.Writer) error {
		if err := writeJSON(w, request); err != nil {
			return err
		}
		_, err := io.CopyN(w, data, request.Size)
		return err
	}, response)
	return errors.Join(err, t.guard.response(id, response.RPCHeader, response.Term, err))
}

// TimeoutNow implements [raft.Transport].
func (t *transport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, request *raft.TimeoutNowRequest, response *raft.TimeoutNowResponse) error {
	return t.call(id, kindTimeoutNow, func(w io.Writer) error { return writeJSON(w, request) }, response)
}

// call sends one raft request and decodes the response.
func (t *transport) call(id raft.ServerID, kind byte, send func(io.Writer) error, response any) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.timeout)
	defer cancel()
	a, err := t.exchange(ctx, string(id), kind, send)
	if err != nil {
		return err
	}
	if a.Error != "" {
		return fmt.Errorf("%s: %s", id, a.Error)
	}
	if err := json.Unmarshal(a.Response, response); err != nil {
		return fmt.Errorf("response of %s: %w", id, err)
	}
	return nil
}

// exchange sends one request to a coordinator and reads the answer. Each write
// and read, of a snapshot's pieces too, has the deadline of one request.
func (t *transport) exchange(ctx context.Context, to string, kind byte, send func(io.Writer) error) (answer, error) {
	w, err := t.dial(ctx, to)
	if err != nil {
		return answer{}, err
	}
	stop := context.AfterFunc(t.ctx, func() { w.conn.Close() })
	defer stop()
	paced := &pacedWriter{w.w, w.conn, t.timeout}
	err = errors.Join(w.w.WriteByte(kind), send(paced), paced.flush())
	var a answer
	if err == nil {
		err = errors.Join(w.conn.SetReadDeadline(t.deadline(ctx)), readJSON(w.r, &a))
	}
	if err != nil || kind == kindInstall {
		t.discard(w)
	} else {
		t.keep(w)
	}
	if err != nil {
		return answer{}, fmt.Errorf("request to %s: %w", to, err)
	}
	return a, nil
}

func (t *transport) deadline(ctx context.Context) time.Time {
	if d, ok := ctx.Deadline(); ok {
		return d
	}
	return time.Now().Add(t.timeout)
}

// pacedWriter moves the write deadline on before each write.
type pacedWriter struct {
	w interface {
		io.Writer
		Flush() error
	}
	conn    net.Conn
	timeout time.Duration
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

func (p *pacedWriter) flush() error {
	return errors.Join(p.conn.SetWriteDeadline(time.Now().Add(p.timeout)), p.w.Flush())
}

func (t *transport) dial(ctx context.Context, to string) (*wire, error) {
	if w := t.reuse(to); w != nil {
		return w, nil
	}
	address, err := identity.ParseAddress(to)
	if err != nil {
		return nil, err
	}
	conn, err := t.network.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dialling coordinator %s: %w", to, err)
	}
	w := newWire(conn)
	if w.peer != to {
		return nil, errors.Join(fmt.Errorf("dialled coordinator %s, got %s", to, w.peer), conn.Close())
	}
	t.mu.Lock()
	t.open[w] = true
	t.mu.Unlock()
	return w, nil
}

// reuse returns an idle connection that the other side has not hung up on yet.
func (t *transport) reuse(to string) *wire {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.idle[to]) > 0 {
		last := len(t.idle[to]) - 1
		w := t.idle[to][last]
		t.idle[to] = t.idle[to][:last]
		if time.Since(w.pooled) < poolIdle {
			return w
		}
		delete(t.open, w)
		w.conn.Close()
	}
	return nil
}

func (t *transport) keep(w *wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() == nil && len(t.idle[w.peer]) < poolSize {
		w.pooled = time.Now()
		t.idle[w.peer] = append(t.idle[w.peer], w)
		return
	}
	delete(t.open, w)
	w.conn.Close()
}

func (t *transport) discard(w *wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, w)
	w.conn.Close()
}

// close ends every connection and waits for the goroutines that served them.
func (t *transport) close() error {
	t.cancel()
	err := t.listener.Close()
	t.mu.Lock()
	for w := range t.open {
		w.conn.Close()
	}
	t.mu.Unlock()
	t.serving.Wait()
	return err
}
