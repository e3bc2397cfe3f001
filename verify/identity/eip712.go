package identity

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/ethereum/go-ethereum/crypto"
)

// Statement is something that can be signed: an EIP-712 structure.
type Statement interface {
	// Struct returns the structure's type name and its fields in order.
	Struct() Struct
}

// Struct is an EIP-712 structure of atomic fields.
type Struct struct {
	Name   string
	Fields []Field
}

// Field is one field. The Go type of Value decides its Solidity type:
//
//	uint64      uint64
//	uint32      uint32
//	string      string
//	digest.Sum  bytes32
//	Address     address
type Field struct {
	Name  string
	Value any
}

// Type returns the structure's EIP-712 type, for example
// "Head(uint64 index,bytes32 root)".
func (s Struct) Type() (string, error) {
	var b strings.Builder
	b.WriteString(s.Name + "(")
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := f.solidity()
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", s.Name, f.Name, err)
		}
		b.WriteString(name + " " + f.Name)
	}
	b.WriteByte(')')
	return b.String(), nil
}

func (f Field) solidity() (string, error) {
	switch f.Value.(type) {
	case uint64:
		return "uint64", nil
	case uint32:
		return "uint32", nil
	case string:
		return "string", nil
	case digest.Sum:
		return "bytes32", nil
	case Address:
		return "address", nil
	}
	return "", fmt.Errorf("type %T has no EIP-712 encoding here", f.Value)
}

// word returns the 32-byte EIP-712 encoding of a value that solidity accepts.
func (f Field) word() (w [32]byte) {
	switch v := f.Value.(type) {
	case uint64:
		binary.BigEndian.PutUint64(w[24:], v)
	case uint32:
		binary.BigEndian.PutUint32(w[28:], v)
	case string:
		w = [32]byte(crypto.Keccak256([]byte(v)))
	case digest.Sum:
		w = v
	case Address:
		copy(w[12:], v[:])
	}
	return w
}

func (s Struct) hash() ([32]byte, error) {
	name, err := s.Type()
	if err != nil {
		return [32]byte{}, err
	}
	b := crypto.Keccak256([]byte(name))
	for _, f := range s.Fields {
		w := f.word()
		b = append(b, w[:]...)
	}
	return [32]byte(crypto.Keccak256(b)), nil
}

// Hash returns the EIP-712 signing hash of s for run: Keccak-256 of
// 0x19 0x01 ‖ domain separator ‖ struct hash. The domain is
// {name: "Allmend", version: "1", salt: run}.
func Hash(run digest.Sum, s Statement) ([32]byte, error) {
	domain := Struct{"EIP712Domain", []Field{{"name", "Allmend"}, {"version", "1"}, {"salt", run}}}
	separator, err := domain.hash()
	if err != nil {
		return [32]byte{}, err
	}
	body, err := s.Struct().hash()
	if err != nil {
		return [32]byte{}, err
	}
	return [32]byte(crypto.Keccak256([]byte{0x19, 0x01}, separator[:], body[:])), nil
}
