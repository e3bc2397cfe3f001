// Package exchange fetches and serves blocks between peers: the shards' own
// blocks, under their own names, over bitswap on a libp2p host that the caller
// owns.
//
// A block of SHA-256 s is asked for as the CIDv1 with codec raw (0x55) and
// multihash sha2-256 (0x12), 32 bytes; any other kind of CID is refused, so
// nothing has two names and nothing is named without a hash. Whatever a peer
// sends is hashed here before it is stored. A block goes only to whom the
// configured gate allows it.
//
// Bitswap waits 20 ms before it sends what it wants, so blocks are asked for
// many at a time, and the server may have 16 MiB on the way to a peer.
package exchange
