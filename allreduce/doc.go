// Package allreduce sums a vector around a ring of members, over any [Link], so
// that every member ends with the same bits, and anyone who holds the summands
// can compute those bits again.
//
// # The sum
//
// The vector of length L is cut into n chunks by [Bounds], n being the number of
// members, called contributors in the order of their ranks 0 … n-1. Chunk c is
//
//	((v[c] + v[c+1]) + v[c+2]) + … + v[c+n-1]      ranks modulo n
//
// in float32, rounded to nearest even after each addition. [Dumb] is that
// sentence as code and the oracle of every test; [Sum] is the same for an
// auditor who reads the contributions from files. Contributions are finite by
// the protocol. A sum of finite values may overflow to an infinity, and two
// infinities may make a NaN whose payload the hardware chooses: members still
// agree, since they copy the completed chunk's bits, but a replay elsewhere may
// differ, so whoever uses the sum refuses one that is not finite.
//
// # The ring
//
// Each member opens one stream to the member after it; vectors flow only that
// way. There are 2(n-1) steps in two phases. In step t = 0 … 2n-3 rank i sends
// chunk i-t and receives chunk i-1-t (modulo n); in the first n-1 steps
// (reduce-scatter) it adds its own summand to what it receives, afterwards
// (all-gather) it keeps what it receives. Chunks travel in pieces of [Piece]
// elements, each sent on as soon as it is complete. [Reduce] works out of place:
// a broken ring leaves the summand untouched, and the next attempt starts from
// scratch with other members. It retries nothing by itself.
//
// # Goroutines of one Reduce
//
//	receive  the caller's own: Prev.Recv, decode, add into dst, one token on
//	         ready for each piece that may be sent on. Never waits for send, so
//	         members that all send first cannot lock one another up.
//	send     encodes what ready allows, one token on taken once a partial sum is
//	         encoded and its place in dst may be overwritten, Next.Send.
//	watch    Next.Closed: hears why the next member gave up.
//	abort    only after a failure: closes both links with the reason.
//
// All of them have ended when Reduce returns.
//
// # Bytes on a stream
//
// Integers are little-endian. A stream is one hello and then frames; the
// receiver of vectors sends nothing but, at most, one close. Every frame begins
// with a header of 20 bytes:
//
//	 0        3     4      5       6       8               16       20
//	+--------+-----+------+-------+-------+---------------+--------+---------
//	| "ALR"  |  1  | type | phase | step  | offset        | length | payload …
//	+--------+-----+------+-------+-------+---------------+--------+---------
//	 magic   version              uint16   uint64          uint32
//
//	type 1 hello   phase = step = offset = 0, length = 84
//	type 2 data    phase 1 reduce-scatter or 2 all-gather; step 0 … n-2 within
//	               the phase; offset of the piece's first element in the vector;
//	               the elements in the run's codec, at most 1 MiB
//	type 3 close   phase = step = offset = 0, length 1 … 256: a reason byte,
//	               then UTF-8 text for people; nothing follows
//
// The payload of a hello:
//
//	 0         32       40        48              80     84
//	+---------+--------+---------+---------------+------+
//	| run ID  | round  | attempt | contributors  | rank |
//	+---------+--------+---------+---------------+------+
//	 SHA-256   uint64   uint64    SHA-256         uint32
//
// Reasons of a close: 1 aborted, 2 past, 3 future, 4 other run, 5 other ring,
// 6 bad frame. A receiver knows what each header has to be, to the bit, before
// it arrives: order, piece and length follow from (n, rank, L, codec). It
// compares before it reads the payload, into a buffer it already has, so no
// number from the wire sizes anything.
//
// # Limitations
//
// Bits are only as right as each member's additions: a member that adds wrongly
// is found by comparing digests and by replay, not here. A member that stands
// still is found by the counters in [Progress], which its caller reports; this
// package owns no timer but the second that [Link.Close] grants a last frame.
package allreduce
