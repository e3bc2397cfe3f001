// Package node is the place that joins everything: the libp2p host, the
// protocols between peers, and the life of both roles, member and coordinator.
//
// A [Host] is one peer's end of the network; its key is the peer's libp2p
// identity. Strangers may read the log and the evidence, members and
// coordinators do the rest; each protocol is one file, says who may speak it,
// and bounds every frame and every wait. A [Node] follows the log, lets package
// member decide, and does what it asks for. A [Coordinator] runs the Raft group
// (package coordinator) over the same host and serves the log it makes.
//
// Goroutines of a Host, all ended by Close: libp2p's own, and one for each
// stream that is served (serveSubmit, serveFollow, …).
//
// Goroutines of a Node, all ended when Run returns:
//
//	loop       Run's own: the only one that knows the log and the member;
//	           takes what a followed coordinator says and what jobs answer,
//	           hands out jobs and statements
//	prepare    at the beginning: opens the shards, or fetches their manifest
//	worker     one job at a time: restores, computes, reduces, applies; owns
//	           the training state
//	follow     reads one coordinator's log and heads into inbox
//	speak      proposes statements in order, each until it is applied or refused
//	introduce  exchanges contacts with coordinators
//	reportAll  and one reportTo for each coordinator: progress, once a second
//
// Goroutines of a Coordinator, beside those of package coordinator, all ended
// when Run returns: Run's own, which watches for the end, and meet, which
// exchanges contacts.
package node
