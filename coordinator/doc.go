// Package coordinator is the Raft shell around the state machine of a run: it
// proposes statements, keeps the log they make, and signs its heads.
//
// Raft (hashicorp/raft v1.8.0) orders signed statements of at most 64 KiB;
// package state turns each into records; every coordinator signs the log's
// head after each. Raft survives crashes, not lies: what a coordinator could
// do with a false log is caught by the heads of the others.
//
// The raft log and its stable store are raft-wal v0.4.0, because raft v1.8.0
// does not build with raft-boltdb v2.3.1 without a replace directive, because
// it is a MonotonicLogStore, which avoids the InstallSnapshot livelock
// hashicorp/raft#697, and because it costs one fsync for each append. Its
// segments do not check every read; that the log led to the same records again
// is checked by their tree's root, which snapshots carry and heads sign.
//
// The transport is our own rather than raft's NetworkTransport, which believes
// any sender, any length and any term: a single forged frame with term
// 2^64 − 1 would end all elections for ever. Here a frame is bounded before it
// is read (8 MiB for the largest request), the sender of a request must be
// whom the Network authenticated, and a term may be at most 1000 ahead. A
// malicious voter can still stop the run; it cannot forge it.
//
// On disk, in Config.Dir:
//
//	raft/       raft-wal segments, and the stable store
//	snapshots/  the last two snapshots: the state machine and all records
//	records     the run's log, derived; see Records
//	head.json   the last head this coordinator signed
//
// Goroutines, all ended by Close:
//
//	serve            accepts connections of other coordinators
//	serveConn        one for each connection: reads requests, answers them
//	raft's own       main loop, fsm (calls fsm.go), snapshots, one or two for each follower
//	signHeads        signs and keeps heads; owns signer after Open
//	pushHeads        starts and ends the next ones as coordinators come and go
//	pushTo           one for each other coordinator: sends this one's heads
//	duties           says Accept and Checkpoint when they are due
//	lead             begins and ends terms
//	term.run         one while this coordinator leads: watchdog, raft's voters
//	term.probe,      one for each accused or silent member, a few seconds long
//	term.expire
package coordinator
