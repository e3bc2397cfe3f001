package verify_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/allmend-network/allmend/verify"
	"github.com/allmend-network/allmend/verify/testrun"
)

// FuzzEvidence overwrites bytes of the log or the head: what is accepted is the
// log that was signed.
func FuzzEvidence(f *testing.F) {
	r := makeRun(f, testrun.Script{})
	files := []string{verify.LogFile, verify.HeadFile, verify.SpecFile}
	var good [][]byte
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(r.Evidence, name))
		if err != nil {
			f.Fatal(err)
		}
		good = append(good, b)
	}
	f.Add(uint8(0), uint32(100), uint32(1), []byte("x"))
	f.Add(uint8(0), uint32(len(good[0])-2), uint32(0), []byte("\n"))
	f.Add(uint8(0), uint32(0), uint32(1<<20), []byte{})
	f.Add(uint8(1), uint32(40), uint32(0), []byte(`,"kind":"Head"`))
	f.Add(uint8(1), uint32(60), uint32(4), []byte("abcd"))
	f.Add(uint8(2), uint32(7), uint32(0), []byte(" "))
	f.Fuzz(func(t *testing.T, which uint8, at, drop uint32, insert []byte) {
		i := int(which) % len(files)
		b := good[i]
		from := int(at) % (len(b) + 1)
		to := min(len(b), from+int(drop%(1<<21)))
		changed := append(append(bytes.Clone(b[:from]), insert...), b[to:]...)
		path := filepath.Join(r.Evidence, files[i])
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := verify.Open(r.ID, r.Evidence)
		if writeErr := os.WriteFile(path, b, 0o600); writeErr != nil {
			t.Fatal(writeErr)
		}
		if err != nil || bytes.Equal(changed, b) {
			return
		}
		// The only other thing that may pass is a head that fewer, but k, signed.
		if files[i] != verify.HeadFile || e.Size != r.Size || e.Root != r.Root || len(e.Signers) < r.Spec.Threshold {
			t.Errorf("%s was accepted with bytes %d to %d replaced by %q", files[i], from, to, insert)
		}
	})
}
