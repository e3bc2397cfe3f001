package keyfile

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/verify/identity"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// testWork keeps the tests fast; Parse accepts it.
const testWork = minWork

func testKey(t testing.TB) identity.Key {
	t.Helper()
	key, err := identity.New([32]byte{31: 7})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testSealed(t testing.TB, key identity.Key) File {
	t.Helper()
	f, err := seal(key, []byte("four words are enough"), strings.NewReader("0123456789abcdef"), testWork)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestGolden(t *testing.T) {
	key := testKey(t)
	for name, f := range map[string]File{"clear": Clear(key), "sealed": testSealed(t, key)} {
		b, err := f.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".golden")
		if *rewrite {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want) {
			t.Errorf("%s: got %s, want %s", name, b, want)
		}
		back, err := Parse(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		opened, err := back.Open([]byte("four words are enough"))
		if err != nil || opened.Secret() != key.Secret() || back.Sealed() != (name == "sealed") {
			t.Errorf("%s: opened %v, %v, sealed %v", name, opened.Address(), err, back.Sealed())
		}
	}
}

func TestPassphrase(t *testing.T) {
	f := testSealed(t, testKey(t))
	if _, err := f.Open([]byte("four words are enough.")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	for _, p := range [][]byte{nil, make([]byte, MaxPassphrase+1)} {
		if _, err := f.Open(p); err == nil || errors.Is(err, ErrPassphrase) {
			t.Errorf("passphrase of %d bytes: %v", len(p), err)
		}
	}
	f.Address[0] ^= 1
	if _, err := f.Open([]byte("four words are enough")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another address: %v", err)
	}
	if _, err := Seal(testKey(t), nil, strings.NewReader("0123456789abcdef")); err == nil {
		t.Error("sealed under an empty passphrase")
	}
}

// TestFlips changes each byte of both golden files: no change may open as
// another key.
func TestFlips(t *testing.T) {
	key := testKey(t)
	for _, f := range []File{Clear(key), testSealed(t, key)} {
		b, err := f.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			c := bytes.Clone(b)
			c[i] ^= 1
			got, err := Parse(c)
			if err != nil {
				continue
			}
			if _, err := got.Open([]byte("four words are enough")); err == nil {
				t.Errorf("%q opens", c)
			}
		}
	}
}

func TestGenerate(t *testing.T) {
	// The first 32 bytes are no scalar; the next are.
	random := append(bytes.Repeat([]byte{0xff}, 32), bytes.Repeat([]byte{1}, 32)...)
	key, err := Generate(bytes.NewReader(random))
	if err != nil || key.Secret() != [32]byte(random[32:]) {
		t.Errorf("got %v, %v", key, err)
	}
	if _, err := Generate(strings.NewReader("short")); err == nil {
		t.Error("a key from too little randomness")
	}
}

func TestDisk(t *testing.T) {
	key := testKey(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "node.key")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "keys new") {
		t.Errorf("no file: %v", err)
	}
	if err := Write(path, Clear(key)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := Write(path, Clear(key)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second write: %v", err)
	}
	if f, err := Read(path); err != nil || f.Address != key.Address() {
		t.Errorf("read %v, %v", f.Address, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("mode 0640: %v", err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("read a folder")
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(large); err == nil || !strings.Contains(err.Error(), large) {
		t.Errorf("large file: %v", err)
	}
	if err := Write(filepath.Join(dir, "missing", "node.key"), Clear(key)); err == nil {
		t.Error("wrote into a folder that does not exist")
	}
}

func TestParseRefuses(t *testing.T) {
	const address = "0x1f5b3a3f6ca1a4d8b7a80c2c6d6ac8f1b2c3d4e5"
	for _, text := range []string{
		``, `{}`, `null`,
		`{"address":"` + address + `","version":1}`,
		`{"address":"` + address + `","secret":"` + strings.Repeat("11", 32) + `","version":1}`, // another's secret
		`{"address":"` + address + `","secret":"` + strings.Repeat("00", 32) + `","version":1}`, // no scalar
		`{"address":"` + address + `","secret":"11","version":1}`,
		`{"address":"` + address + `","secret":"` + strings.Repeat("11", 32) + `","version":2}`,
		`{"address":"` + address + `","sealed":{"ciphertext":"` + strings.Repeat("11", 48) + `","salt":"` + strings.Repeat("11", 16) + `","work":40},"version":1}`,
		`{"address":"` + address + `","sealed":{"ciphertext":"` + strings.Repeat("11", 48) + `","salt":"","work":17},"version":1}`,
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	key := testKey(f)
	for _, file := range []File{Clear(key), testSealed(f, key)} {
		b, err := file.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		back, err := file.Marshal()
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%q marshals as %q, %v", b, back, err)
		}
	})
}
