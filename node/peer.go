package node

import (
	"fmt"

	"github.com/allmend-network/allmend/verify/identity"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/crypto/sha3"
)

// hostKey returns key as a libp2p identity: the same secp256k1 secret.
func hostKey(key identity.Key) (crypto.PrivKey, error) {
	secret := key.Secret()
	host, err := crypto.UnmarshalSecp256k1PrivateKey(secret[:])
	if err != nil {
		return nil, fmt.Errorf("the key as libp2p identity: %w", err)
	}
	return host, nil
}

// PeerID returns the libp2p peer ID of key's holder.
func PeerID(key identity.Key) (peer.ID, error) {
	host, err := hostKey(key)
	if err != nil {
		return "", err
	}
	return peer.IDFromPrivateKey(host)
}

// AddressOf returns the address of the key behind a peer ID. A peer ID holds
// the public key, so this needs no table; the way back does (see [Book]). It
// fails for keys of another kind.
func AddressOf(id peer.ID) (identity.Address, error) {
	public, err := id.ExtractPublicKey()
	if err != nil {
		return identity.Address{}, fmt.Errorf("peer %s: %w", id, err)
	}
	if public.Type() != pb.KeyType_Secp256k1 {
		return identity.Address{}, fmt.Errorf("peer %s has a key of kind %s, want Secp256k1", id, public.Type())
	}
	raw, err := public.Raw()
	if err != nil {
		return identity.Address{}, fmt.Errorf("peer %s: %w", id, err)
	}
	point, err := secp256k1.ParsePubKey(raw)
	if err != nil {
		return identity.Address{}, fmt.Errorf("peer %s: %w", id, err)
	}
	keccak := sha3.NewLegacyKeccak256()
	keccak.Write(point.SerializeUncompressed()[1:])
	return identity.Address(keccak.Sum(nil)[12:]), nil
}
