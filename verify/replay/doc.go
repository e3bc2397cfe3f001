// Package replay is the re-execution of signed rounds, and of single units of
// work in them, whose every bit must equal what was signed.
//
// A round is computed again from nothing but a checkpoint, the reduced vectors
// of the rounds since, and the samples that the log assigned:
//
//	state  ← checkpoint; apply each reduced vector     roots = those in the log
//	vector ← each contributor's samples from that state    every field = its Commit
//	sum    ← vectors in the ring's published order         root = CLOSED's
//	next   ← one optimizer step                            root = next OPEN's
//
// It holds one vector of each contributor in memory. See docs/numerics.md for
// why all machines find the same bits.
package replay
