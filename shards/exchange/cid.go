package exchange

import (
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/allmend-network/allmend/verify/digest"
)

// CID returns the name under which a block travels: a raw CIDv1 of its SHA-256.
func CID(sum digest.Sum) cid.Cid { return cid.NewCidV1(cid.Raw, multihashOf(sum)) }

func multihashOf(sum digest.Sum) multihash.Multihash {
	hash, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // 32 bytes of SHA-256 have a multihash
	}
	return hash
}

// Sum returns the SHA-256 that a CID stands for. It refuses every CID but the
// raw CIDv1 of a whole SHA-256.
func Sum(c cid.Cid) (digest.Sum, error) {
	p := c.Prefix()
	if p.Version != 1 || p.Codec != cid.Raw || p.MhType != multihash.SHA2_256 || p.MhLength != len(digest.Sum{}) {
		return digest.Sum{}, fmt.Errorf("CID %s: not a raw CIDv1 of a SHA-256", c)
	}
	hash, err := multihash.Decode(c.Hash())
	if err != nil || len(hash.Digest) != len(digest.Sum{}) {
		return digest.Sum{}, fmt.Errorf("CID %s: %w", c, err)
	}
	return digest.Sum(hash.Digest), nil
}
