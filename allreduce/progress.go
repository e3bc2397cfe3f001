package allreduce

// Nobody is the rank in [Progress].Waiting of a member that waits for no one.
const Nobody = -1

// Progress is how far one member's Reduce has come. Its counters only grow: one
// that stands still for long, in a member that waits for nobody or in one that
// no longer reports, is what a watchdog looks for.
type Progress struct {
	Phase    Phase
	Step     int   // within the phase, of the piece received last or waited for
	Received int64 // payload bytes
	Sent     int64 // payload bytes
	Waiting  int   // rank whose bytes, or whose taking of bytes, this member waits for; or Nobody
}

// update changes the progress and tells the caller.
func (r *ring) update(change func(*Progress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.progress)
	if r.Progress != nil {
		r.Progress(r.progress)
	}
}

// position returns the progress as it stands.
func (r *ring) position() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// wait notes that the member waits for a piece from the previous one.
func (r *ring) wait(p Phase, step int) {
	r.update(func(g *Progress) { g.Phase, g.Step, g.Waiting = p, step, r.prev })
}

// received notes a piece that has come.
func (r *ring) received(bytes int) {
	r.update(func(g *Progress) { g.Received += int64(bytes); g.Waiting = Nobody })
}

// receivedAll notes that only the next member can still hold this one up.
func (r *ring) receivedAll() {
	r.update(func(g *Progress) {
		r.drained = true
		if !r.flushed {
			g.Waiting = r.next
		}
	})
}

// sent notes a piece that the transport has taken.
func (r *ring) sent(bytes int) {
	r.update(func(g *Progress) { g.Sent += int64(bytes) })
}

// sentAll notes that the previous member alone can still hold this one up.
func (r *ring) sentAll() {
	r.update(func(g *Progress) {
		r.flushed = true
		if r.drained {
			g.Waiting = Nobody
		}
	})
}
