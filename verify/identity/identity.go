// Package identity is one secp256k1 key, its address, and EIP-712 signatures
// over typed statements.
//
// A process has one key. It signs statements only, never a bare hash, so a
// signature always says what it means and for which run. Recovery is strict:
// 65 bytes, low s, and an address that the caller still has to authorise:
// some address comes out of almost any signature. See docs/formats.md,
// "Statements".
package identity

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/ethereum/go-ethereum/crypto"
)

// SignatureSize is the length in bytes of r ‖ s ‖ v, with v 27 or 28 as
// wallets write it.
const SignatureSize = 65

// Address is the Ethereum address of a key: the last 20 bytes of the
// Keccak-256 of its public point.
type Address [20]byte

// String returns a in lower-case hexadecimal with 0x before it.
func (a Address) String() string { return "0x" + hex.EncodeToString(a[:]) }

// Short returns the first 8 digits of a, for people's eyes only.
func (a Address) Short() string { return a.String()[:10] }

// IsZero reports whether a is all zero, which is nobody's address.
func (a Address) IsZero() bool { return a == Address{} }

// Compare orders addresses by their bytes.
func (a Address) Compare(b Address) int { return strings.Compare(string(a[:]), string(b[:])) }

// ParseAddress reads 0x and 40 lower-case hexadecimal digits.
func ParseAddress(text string) (Address, error) {
	var a Address
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) != 2*len(a) {
		return a, fmt.Errorf("address %.60q: want 0x and 40 hexadecimal digits", text)
	}
	if _, err := hex.Decode(a[:], []byte(digits)); err != nil {
		return Address{}, fmt.Errorf("address %q: %w", text, err)
	}
	if a.String() != text {
		return Address{}, fmt.Errorf("address %q: want lower-case hexadecimal digits", text)
	}
	return a, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] as strictly as
// [ParseAddress].
func (a *Address) UnmarshalText(text []byte) error {
	parsed, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// Signature is r ‖ s ‖ v.
type Signature [SignatureSize]byte

// String returns g in lower-case hexadecimal with 0x before it.
func (g Signature) String() string { return "0x" + hex.EncodeToString(g[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (g Signature) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads 0x and 130 lower-case hexadecimal digits.
func (g *Signature) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), "0x")
	if !ok || len(digits) != 2*SignatureSize {
		return fmt.Errorf("signature %.20q…: want 0x and %d hexadecimal digits", text, 2*SignatureSize)
	}
	if _, err := hex.Decode(g[:], []byte(digits)); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	if g.String() != string(text) {
		return errors.New("signature: want lower-case hexadecimal digits")
	}
	return nil
}

// Key is a private key. The zero Key is not usable.
type Key struct{ secret *ecdsa.PrivateKey }

// New returns the key whose secret scalar is the 32 bytes of seed, which the
// caller draws at random. It fails for the few seeds that are no scalar.
func New(seed [32]byte) (Key, error) {
	secret, err := crypto.ToECDSA(seed[:])
	if err != nil {
		return Key{}, fmt.Errorf("secp256k1 secret: %w", err)
	}
	return Key{secret}, nil
}

// Secret returns the 32 bytes that [New] takes.
func (k Key) Secret() [32]byte { return [32]byte(crypto.FromECDSA(k.secret)) }

// Address returns the address of k.
func (k Key) Address() Address { return Address(crypto.PubkeyToAddress(k.secret.PublicKey)) }

// Sign signs a statement for the run whose ID is run. Signatures are
// deterministic (RFC 6979).
func (k Key) Sign(run digest.Sum, s Statement) (Signature, error) {
	hash, err := Hash(run, s)
	if err != nil {
		return Signature{}, err
	}
	raw, err := crypto.Sign(hash[:], k.secret)
	if err != nil {
		return Signature{}, fmt.Errorf("signing %s: %w", s.Struct().Name, err)
	}
	raw[64] += 27
	return Signature(raw), nil
}

// Recover returns the address whose key signed s for run. The caller decides
// whether that address may say s.
func Recover(run digest.Sum, s Statement, g Signature) (Address, error) {
	hash, err := Hash(run, s)
	if err != nil {
		return Address{}, err
	}
	return recoverHash(hash, g)
}

func recoverHash(hash [32]byte, g Signature) (Address, error) {
	if g[64] != 27 && g[64] != 28 {
		return Address{}, fmt.Errorf("signature: v is %d, want 27 or 28", g[64])
	}
	r, s := new(big.Int).SetBytes(g[:32]), new(big.Int).SetBytes(g[32:64])
	if !crypto.ValidateSignatureValues(g[64]-27, r, s, true) {
		return Address{}, errors.New("signature: r or s out of range, or s in the upper half (a malleated twin)")
	}
	raw := g
	raw[64] -= 27
	pub, err := crypto.SigToPub(hash[:], raw[:])
	if err != nil {
		return Address{}, fmt.Errorf("signature: %w", err)
	}
	return Address(crypto.PubkeyToAddress(*pub)), nil
}
