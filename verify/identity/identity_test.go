package identity

import (
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/ethereum/go-ethereum/crypto"
)

func bytes32(t testing.TB, text string) (b [32]byte) {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil || copy(b[:], raw) != 32 {
		t.Fatalf("%s: %v", text, err)
	}
	return b
}

// cow is the key of the example in EIP-712: its secret is Keccak-256("cow").
func cow(t testing.TB) Key {
	k, err := New([32]byte(crypto.Keccak256([]byte("cow"))))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPublishedVectors checks what the example program of EIP-712 prints about
// its structure Person, its key and its signature.
func TestPublishedVectors(t *testing.T) {
	address, err := ParseAddress("0xcd2a3d9f938e13cd947ec05abc7fe734df8dd826")
	if err != nil || cow(t).Address() != address {
		t.Errorf("the cow's address is %s, want %s, %v", cow(t).Address(), address, err)
	}
	person := func(name, wallet string) Struct {
		a, err := ParseAddress(wallet)
		if err != nil {
			t.Fatal(err)
		}
		return Struct{"Person", []Field{{"name", name}, {"wallet", a}}}
	}
	if typ, err := person("", address.String()).Type(); err != nil || typ != "Person(string name,address wallet)" {
		t.Errorf("type %q, %v", typ, err)
	}
	for _, c := range []struct{ name, wallet, want string }{
		{"Cow", "0xcd2a3d9f938e13cd947ec05abc7fe734df8dd826", "fc71e5fa27ff56c350aa531bc129ebdf613b772b6604664f5d8dbe21b85eb0c8"},
		{"Bob", "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "cd54f074a4af31b4411ff6a60c9719dbd559c221c8ac3492d9d872b041d703d1"},
	} {
		if h, err := person(c.name, c.wallet).hash(); err != nil || h != bytes32(t, c.want) {
			t.Errorf("hash of %s: %x, %v", c.name, h, err)
		}
	}
	var g Signature
	r := bytes32(t, "4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d")
	s := bytes32(t, "07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b91562")
	copy(g[:32], r[:])
	copy(g[32:], s[:])
	g[64] = 28
	mail := bytes32(t, "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2")
	if got, err := recoverHash(mail, g); err != nil || got != address {
		t.Errorf("the example's signature is by %s, %v", got, err)
	}
	own, err := crypto.Sign(mail[:], cow(t).secret)
	if err != nil || own[64]+27 != g[64] || string(own[:64]) != string(g[:64]) {
		t.Errorf("the example's signature comes out as %x, %v", own, err)
	}
}

// statement is a Struct that says itself.
type statement Struct

func (s statement) Struct() Struct { return Struct(s) }

func TestTypes(t *testing.T) {
	all := Struct{"All", []Field{{"a", uint64(1)}, {"b", uint32(2)}, {"c", "x"}, {"d", digest.Sum{1}}, {"e", Address{2}}}}
	if typ, err := all.Type(); err != nil || typ != "All(uint64 a,uint32 b,string c,bytes32 d,address e)" {
		t.Errorf("%q, %v", typ, err)
	}
	if typ, err := (Struct{Name: "None"}).Type(); err != nil || typ != "None()" {
		t.Errorf("%q, %v", typ, err)
	}
	if _, err := Hash(digest.Sum{}, statement{"Bad", []Field{{"n", 5}}}); err == nil || !strings.Contains(err.Error(), "Bad.n") {
		t.Errorf("an int has an encoding: %v", err)
	}
}

// TestSignatures checks that a signature holds for its run and statement only,
// and that each of its other forms is refused.
func TestSignatures(t *testing.T) {
	k := cow(t)
	run, s := digest.Of([]byte("run")), statement{"Say", []Field{{"what", "moo"}}}
	g, err := k.Sign(run, s)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := k.Sign(run, s); again != g {
		t.Error("signatures are not deterministic")
	}
	if a, err := Recover(run, s, g); err != nil || a != k.Address() {
		t.Fatalf("%s, %v", a, err)
	}
	for name, other := range map[string]Statement{
		"value": statement{"Say", []Field{{"what", "baa"}}},
		"name":  statement{"Cry", []Field{{"what", "moo"}}},
		"field": statement{"Say", []Field{{"whom", "moo"}}},
		"type":  statement{"Say", []Field{{"what", digest.Of([]byte("moo"))}}},
	} {
		if a, err := Recover(run, other, g); err == nil && a == k.Address() {
			t.Errorf("the signature holds for another %s", name)
		}
	}
	if a, err := Recover(digest.Of([]byte("another")), s, g); err == nil && a == k.Address() {
		t.Error("the signature holds for another run")
	}
	if _, err := k.Sign(run, statement{"Bad", []Field{{"n", 5}}}); err == nil {
		t.Error("a statement without an encoding is signed")
	}
	twin := g // the same point, with s in the upper half of the order
	n := crypto.S256().Params().N
	new(big.Int).Sub(n, new(big.Int).SetBytes(g[32:64])).FillBytes(twin[32:64])
	twin[64] = 27 + 28 - g[64]
	refused := map[string]Signature{"high-s twin": twin}
	for name, edit := range map[string]func(*Signature){
		"v of 0":  func(g *Signature) { g[64] -= 27 },
		"v of 29": func(g *Signature) { g[64] = 29 },
		"r of 0":  func(g *Signature) { clear(g[:32]) },
		"s of 0":  func(g *Signature) { clear(g[32:64]) },
		"r of n":  func(g *Signature) { n.FillBytes(g[:32]) },
		"nothing": func(g *Signature) { *g = Signature{} },
	} {
		bad := g
		edit(&bad)
		refused[name] = bad
	}
	for name, bad := range refused {
		if a, err := Recover(run, s, bad); err == nil {
			t.Errorf("%s is accepted, from %s", name, a)
		}
	}
	if _, err := Recover(run, statement{"Bad", []Field{{"n", 5}}}, g); err == nil {
		t.Error("a statement without an encoding is recovered")
	}
}

func TestKeys(t *testing.T) {
	k := cow(t)
	if again, err := New(k.Secret()); err != nil || again.Address() != k.Address() {
		t.Errorf("the secret gives %s, %v", again.Address(), err)
	}
	var order [32]byte
	crypto.S256().Params().N.FillBytes(order[:])
	for _, bad := range [][32]byte{{}, order} {
		if _, err := New(bad); err == nil {
			t.Errorf("%x is a secret", bad)
		}
	}
}

func TestText(t *testing.T) {
	a := cow(t).Address()
	if !(Address{}).IsZero() || a.IsZero() || a.Compare(Address{}) <= 0 || a.Short() != a.String()[:10] {
		t.Error("address:", a)
	}
	for _, bad := range []string{"", "0x", a.String()[2:], a.String() + "0", strings.ToUpper(a.String()), "0xCD2A3d9f938e13cd947ec05abc7fe734df8dd826", "0xg" + a.String()[3:]} {
		if _, err := ParseAddress(bad); err == nil {
			t.Errorf("%q is an address", bad)
		}
		if err := new(Address).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
	g, err := cow(t).Sign(digest.Sum{}, statement{Name: "Say"})
	if err != nil {
		t.Fatal(err)
	}
	var back Signature
	if text, err := g.MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != g {
		t.Errorf("%s, %v", text, err)
	}
	for _, bad := range []string{"", "0x", g.String()[2:], g.String()[:130], g.String() + "00", "0xG" + g.String()[3:], "0x" + strings.ToUpper(g.String()[2:])} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is a signature", bad)
		}
	}
}

func FuzzRecover(f *testing.F) {
	run, s := digest.Of([]byte("run")), statement{"Say", []Field{{"what", "moo"}}}
	g, err := cow(f).Sign(run, s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(g[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var other Signature
		if copy(other[:], b) != SignatureSize || other == g {
			return
		}
		if a, err := Recover(run, s, other); err == nil && a == cow(t).Address() {
			t.Errorf("%x is a second signature of the same statement", b)
		}
	})
}
