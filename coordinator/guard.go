package coordinator

import (
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// maxTermJump bounds how far a request may move the term. Raft itself believes
// any term: one frame with term 2^64 − 1 would end all elections for ever, and
// be kept on disk.
const maxTermJump = 1000

// maxFirstTerm bounds the first term a coordinator without a log accepts.
const maxFirstTerm = 1 << 40

// guard decides which requests and responses may reach raft. It answers for
// one sender at a time: nobody speaks for another, and terms move in steps.
// A malicious voter can still stop the run by asking for elections; it cannot
// change what is signed.
type guard struct {
	raft atomic.Pointer[raft.Raft] // nil until raft runs
}

// request checks a request with a term.
func (g *guard) request(sender string, h raft.RPCHeader, term uint64) error {
	if string(h.ID) != sender || string(h.Addr) != sender {
		return fmt.Errorf("request of %q, sent by %s", h.ID, sender)
	}
	return g.term(sender, term)
}

func (g *guard) term(sender string, term uint64) error {
	r := g.raft.Load()
	if r == nil {
		return fmt.Errorf("raft is not running yet")
	}
	limit := r.CurrentTerm() + maxTermJump
	if r.CurrentTerm() == 0 {
		limit = maxFirstTerm
	}
	if term > limit {
		return fmt.Errorf("%s speaks of term %d, at most %d is believed", sender, term, limit)
	}
	return nil
}

// leader checks that a request without a term comes from the leader.
func (g *guard) leader(sender string, h raft.RPCHeader) error {
	if err := g.request(sender, h, 0); err != nil {
		return err
	}
	if _, id := g.raft.Load().LeaderWithID(); string(id) != sender {
		return fmt.Errorf("%s asks for an election but %q leads", sender, id)
	}
	return nil
}

// response checks a raft response; err is that of the request itself.
func (g *guard) response(id raft.ServerID, h raft.RPCHeader, term uint64, err error) error {
	if err != nil {
		return nil
	}
	return g.request(string(id), h, term)
}
