package coordinator

import "sync"

// bell tells any number of goroutines that something has changed.
type bell struct {
	mu   sync.Mutex // guards next
	next chan struct{}
}

func newBell() *bell { return &bell{next: make(chan struct{})} }

// wait returns a channel that is closed at the next ring.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = make(chan struct{})
}
