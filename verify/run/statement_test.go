package run_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/identity"
	"github.com/allmend-network/allmend/verify/run"
)

// key returns the key of a name: the same in every run of the tests.
func key(t testing.TB, name string) identity.Key {
	k, err := identity.New(sha256.Sum256([]byte("allmend test key " + name)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// golden is one statement of every kind, signed by m1 for the run
// SHA-256("run"). The file was not written by this project's code but by
// eth-account 0.14.0 (Python) from the type strings in docs/formats.md.
type golden struct {
	Kind   string `json:"kind"`
	Type   string `json:"type"`
	Hash   string `json:"hash"`   // what EIP-712 says is signed
	Signed string `json:"signed"` // canonical JSON
}

func goldens(t testing.TB) []golden {
	b, err := os.ReadFile("testdata/statements.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []golden
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGoldenStatements(t *testing.T) {
	id, m1 := digest.Of([]byte("run")), key(t, "m1")
	seen := map[string]bool{}
	for _, g := range goldens(t) {
		seen[g.Kind] = true
		s, err := run.ParseSigned([]byte(g.Signed))
		if err != nil {
			t.Errorf("%s: %v", g.Kind, err)
			continue
		}
		if b, err := s.Marshal(); err != nil || string(b) != g.Signed {
			t.Errorf("%s: %s, %v", g.Kind, b, err)
		}
		if typ, err := s.Statement.Struct().Type(); err != nil || typ != g.Type || s.Statement.Kind() != g.Kind {
			t.Errorf("%s: type %s, %v", g.Kind, typ, err)
		}
		if h, err := identity.Hash(id, s.Statement); err != nil || hex.EncodeToString(h[:]) != g.Hash {
			t.Errorf("%s: signing hash %x, want %s, %v", g.Kind, h, g.Hash, err)
		}
		if own, err := run.Sign(id, m1, s.Statement); err != nil || own.Signatures[0] != s.Signatures[0] {
			t.Errorf("%s: signature %s, want %s, %v", g.Kind, own.Signatures[0], s.Signatures[0], err)
		}
		if who, err := s.Signers(id); err != nil || len(who) != 1 || who[0] != m1.Address() {
			t.Errorf("%s: signers %v, %v", g.Kind, who, err)
		}
		if who, err := s.Signers(digest.Of([]byte("another run"))); err == nil && who[0] == m1.Address() {
			t.Errorf("%s: the signature holds for another run", g.Kind)
		}
	}
	if len(seen) != 13 {
		t.Errorf("%d kinds of statement are golden, want 13", len(seen))
	}
}

// TestEveryFieldIsSigned changes each value of each statement: the signature
// must not hold any more.
func TestEveryFieldIsSigned(t *testing.T) {
	id, m1 := digest.Of([]byte("run")), key(t, "m1").Address()
	for _, g := range goldens(t) {
		var doc map[string]any
		if err := json.Unmarshal([]byte(g.Signed), &doc); err != nil {
			t.Fatal(err)
		}
		for name, value := range doc["statement"].(map[string]any) {
			changed := strings.Replace(g.Signed, field(name, value), field(name, other(value)), 1)
			s, err := run.ParseSigned([]byte(changed))
			if err != nil {
				t.Errorf("%s.%s: %v", g.Kind, name, err)
				continue
			}
			if who, err := s.Signers(id); err == nil && who[0] == m1 {
				t.Errorf("%s.%s can be changed under its signature", g.Kind, name)
			}
		}
	}
}

func field(name string, value any) string {
	b, _ := json.Marshal(map[string]any{name: value})
	return string(b[1 : len(b)-1])
}

func other(value any) any {
	switch v := value.(type) {
	case float64:
		return 77
	case string:
		if strings.HasPrefix(v, "0") || len(v) == 64 {
			return v[:len(v)-1] + string("01"[int(v[len(v)-1])%2]^1)
		}
		return v + "x"
	}
	panic("no such value in a statement")
}

func TestParseSignedRefuses(t *testing.T) {
	good := goldens(t)[8].Signed // Head
	for name, bad := range map[string]string{
		"unknown kind":        strings.Replace(good, `"Head"`, `"Tail"`, 1),
		"unknown key":         strings.Replace(good, `"index"`, `"indexx"`, 1),
		"case of a key":       strings.Replace(good, `"index"`, `"Index"`, 1),
		"additional key":      strings.Replace(good, `"kind"`, `"age":1,"kind"`, 1),
		"additional inside":   strings.Replace(good, `{"index"`, `{"a":1,"index"`, 1),
		"missing key":         strings.Replace(good, `"index":9007199254740991,`, ``, 1),
		"key twice":           strings.Replace(good, `"kind"`, `"kind":"Head","kind"`, 1),
		"space":               strings.Replace(good, `:`, `: `, 1),
		"negative":            strings.Replace(good, `9007199254740991`, `-1`, 1),
		"too large":           strings.Replace(good, `9007199254740991`, `9007199254740992`, 1),
		"fraction":            strings.Replace(good, `9007199254740991`, `1.0`, 1),
		"no signature":        good[:strings.Index(good, `["0x`)] + `[]` + good[strings.Index(good, `],"st`)+1:],
		"upper-case digits":   strings.Replace(good, "root\":\"", "root\":\"A", 1),
		"after the end":       good + "x",
		"null":                strings.Replace(good, `9007199254740991`, `null`, 1),
		"another order":       `{"statement":{},"kind":"Head"}`,
		"nothing":             ``,
		"not an object":       `[]`,
		"more than the bound": `"` + strings.Repeat("x", run.MaxStatementSize) + `"`,
	} {
		if _, err := run.ParseSigned([]byte(bad)); err == nil {
			t.Errorf("%s: %.200s is accepted", name, bad)
		}
	}
}

func TestSignersSortedAndDistinct(t *testing.T) {
	id := digest.Of([]byte("run"))
	st := run.Control{Number: 1, Action: run.Pause}
	a, b := key(t, "c1"), key(t, "c2")
	if a.Address().Compare(b.Address()) > 0 {
		a, b = b, a
	}
	ga, _ := a.Sign(id, st)
	gb, _ := b.Sign(id, st)
	for _, c := range []struct {
		name string
		ok   bool
		list []identity.Signature
	}{
		{"sorted", true, []identity.Signature{ga, gb}},
		{"not sorted", false, []identity.Signature{gb, ga}},
		{"twice", false, []identity.Signature{ga, ga}},
	} {
		if _, err := (run.Signed{Statement: st, Signatures: c.list}).Signers(id); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzParseSigned(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add([]byte(g.Signed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := run.ParseSigned(b)
		if err != nil {
			return
		}
		if back, err := s.Marshal(); err != nil || string(back) != string(b) {
			t.Errorf("%s is accepted but encodes as %s (%v)", b, back, err)
		}
		s.Signers(digest.Sum{})
	})
}
