package node

import (
	"slices"
	"sync"

	"github.com/allmend-network/allmend/coordinator"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// publicLog is the log that a member serves to others: what is covered, with
// the heads that cover it. It is safe for concurrent use.
type publicLog struct {
	records *coordinator.Records

	mu     sync.Mutex // guards the fields below
	first  uint64     // number of heads[0]
	heads  []run.Signed
	more   chan struct{}
	leader identity.Address
	over   bool
}

const keepHeads = 256

func newPublicLog(records *coordinator.Records) *publicLog {
	return &publicLog{records: records, more: make(chan struct{})}
}

// Records implements logSource.
func (l *publicLog) Records() *coordinator.Records { return l.records }

// Leader implements logSource.
func (l *publicLog) Leader() identity.Address {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader
}

// Over implements logSource.
func (l *publicLog) Over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// lead takes what a coordinator says of itself.
func (l *publicLog) lead(a identity.Address, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leader, l.over = a, over
}

// Heads implements logSource.
func (l *publicLog) Heads(n uint64) ([]run.Signed, uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	skip := min(max(n, l.first)-l.first, uint64(len(l.heads)))
	return slices.Clone(l.heads[skip:]), l.first + uint64(len(l.heads)), l.more
}

func (l *publicLog) add(head run.Signed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heads = append(l.heads, head)
	if drop := len(l.heads) - keepHeads; drop > 0 {
		l.heads, l.first = slices.Clone(l.heads[drop:]), l.first+uint64(drop)
	}
	close(l.more)
	l.more = make(chan struct{})
}
