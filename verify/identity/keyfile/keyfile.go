package keyfile

import (
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/allmend-network/allmend/verify/canonical"
	"github.com/allmend-network/allmend/verify/identity"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/scrypt"
)

// MaxSize bounds a key file in bytes.
const MaxSize = 1 << 10

// MaxPassphrase bounds a passphrase in bytes.
const MaxPassphrase = 1 << 10

const (
	saltSize = 16
	work     = 17 // of new files: 128 MiB and some tenths of a second a guess
	minWork  = 10
	maxWork  = 20 // 1 GiB: what opening a file may cost
)

// ErrPassphrase says that a passphrase does not open a key file, or that the
// file was changed.
var ErrPassphrase = errors.New("the passphrase does not open it")

// File is a key as it stands on disk.
type File struct {
	Address identity.Address
	secret  *secret // nil if sealed
	sealed  *sealed // nil if in the clear
}

type secret [32]byte

type sealed struct {
	Ciphertext hexBytes `json:"ciphertext"`
	Salt       hexBytes `json:"salt"`
	Work       int      `json:"work"`
}

// document is the JSON of a File.
type document struct {
	Address identity.Address `json:"address"`
	Sealed  *sealed          `json:"sealed,omitempty"`
	Secret  *hexBytes        `json:"secret,omitempty"`
	Version int              `json:"version"`
}

// hexBytes is bytes in lower-case hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// Generate draws a key from random.
func Generate(random io.Reader) (identity.Key, error) {
	for {
		var seed [32]byte
		if _, err := io.ReadFull(random, seed[:]); err != nil {
			return identity.Key{}, fmt.Errorf("drawing a key: %w", err)
		}
		// One seed in 2^128 is no scalar.
		if key, err := identity.New(seed); err == nil {
			return key, nil
		}
	}
}

// Clear returns the file that holds key for all who can read it.
func Clear(key identity.Key) File {
	s := secret(key.Secret())
	return File{Address: key.Address(), secret: &s}
}

// Seal returns the file that holds key under a passphrase; the salt comes from
// random.
func Seal(key identity.Key, passphrase []byte, random io.Reader) (File, error) {
	return seal(key, passphrase, random, work)
}

func seal(key identity.Key, passphrase []byte, random io.Reader, work int) (File, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return File{}, fmt.Errorf("drawing a salt: %w", err)
	}
	s := &sealed{Salt: salt, Work: work}
	aead, err := s.aead(passphrase)
	if err != nil {
		return File{}, err
	}
	plain := key.Secret()
	s.Ciphertext = aead.Seal(nil, make([]byte, aead.NonceSize()), plain[:], purpose(key.Address()))
	return File{Address: key.Address(), sealed: s}, nil
}

// purpose is the additional data of the ciphertext.
func purpose(a identity.Address) []byte { return []byte("allmend key 1 " + a.String()) }

// Sealed reports whether a passphrase is needed to open f.
func (f File) Sealed() bool { return f.sealed != nil }

// Open returns the key. The passphrase of a file in the clear is ignored; a
// wrong one is [ErrPassphrase].
func (f File) Open(passphrase []byte) (identity.Key, error) {
	plain := f.secret
	if f.sealed != nil {
		aead, err := f.sealed.aead(passphrase)
		if err != nil {
			return identity.Key{}, err
		}
		b, err := aead.Open(nil, make([]byte, aead.NonceSize()), f.sealed.Ciphertext, purpose(f.Address))
		if err != nil {
			return identity.Key{}, fmt.Errorf("key file of %s: %w", f.Address, ErrPassphrase)
		}
		plain = (*secret)(b)
	}
	key, err := identity.New(*plain)
	if err != nil {
		return identity.Key{}, fmt.Errorf("key file of %s: %w", f.Address, err)
	}
	if key.Address() != f.Address {
		return identity.Key{}, fmt.Errorf("key file: it names %s, but its secret is that of %s", f.Address, key.Address())
	}
	return key, nil
}

// aead returns the cipher of s. The caller has checked the bounds of s.
func (s *sealed) aead(passphrase []byte) (cipher.AEAD, error) {
	if len(passphrase) == 0 || len(passphrase) > MaxPassphrase {
		return nil, fmt.Errorf("a passphrase of %d bytes: want 1 to %d", len(passphrase), MaxPassphrase)
	}
	k, err := scrypt.Key(passphrase, s.Salt, 1<<s.Work, 8, 1, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("scrypt: %w", err)
	}
	return chacha20poly1305.New(k)
}

// Marshal returns the bytes of f.
func (f File) Marshal() ([]byte, error) {
	d := document{Address: f.Address, Sealed: f.sealed, Version: 1}
	if f.secret != nil {
		plain := hexBytes(f.secret[:])
		d.Secret = &plain
	}
	return canonical.Marshal(d)
}

// Parse reads the bytes of a File. A secret in the clear must be that of the
// address; a sealed one is only known when it is opened.
func Parse(b []byte) (File, error) {
	var d document
	if err := canonical.Unmarshal(b, &d, MaxSize); err != nil {
		return File{}, fmt.Errorf("key file: %w", err)
	}
	switch {
	case d.Version != 1:
		return File{}, fmt.Errorf("key file: version %d is unknown; this build reads version 1", d.Version)
	case (d.Secret == nil) == (d.Sealed == nil):
		return File{}, errors.New(`key file: want either "secret" or "sealed"`)
	case d.Sealed != nil:
		s := d.Sealed
		if len(s.Salt) != saltSize || len(s.Ciphertext) != len(secret{})+chacha20poly1305.Overhead || s.Work < minWork || s.Work > maxWork {
			return File{}, fmt.Errorf("key file: sealed with %d bytes of salt, %d of ciphertext, work %d: want %d, %d, %d to %d",
				len(s.Salt), len(s.Ciphertext), s.Work, saltSize, len(secret{})+chacha20poly1305.Overhead, minWork, maxWork)
		}
		return File{Address: d.Address, sealed: s}, nil
	}
	if len(*d.Secret) != len(secret{}) {
		return File{}, fmt.Errorf("key file: a secret of %d bytes, want %d", len(*d.Secret), len(secret{}))
	}
	f := File{Address: d.Address, secret: (*secret)(*d.Secret)}
	if _, err := f.Open(nil); err != nil {
		return File{}, err
	}
	return f, nil
}
