// Package demo is the whole of Allmend on one machine: texts in, a run by
// several processes that are killed on the way, a signed checkpoint out, and a
// stranger who checks it.
//
// It is a supervisor. It re-executes the binary it is part of, with the very
// commands that a person would type, each process with its own key and data
// directory, and watches them through their status on localhost. A child
// process gets the read end of a pipe as standard input and ends when that
// closes, however the supervisor died.
//
//	data        allmend shards build        planted held against caught
//	swarm       allmend keys new, run init, coordinator ×3, node ×3
//	training    faults: a node and the Raft leader are killed in the middle of
//	            a ring, a fourth node joins, the killed return from their disks
//	stranger    allmend run fetch, verify …, and forgeries that must be refused
//	the end     a report; exit code 0 only if every check held
package demo
