package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
	"github.com/allmend-network/allmend/verify/run"
)

func tiny() model.Config {
	return model.Config{
		VocabSize: 16, HiddenSize: 8, IntermediateSize: 12, NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1,
		MaxPositionEmbeddings: 16, RopeTheta: "10000", RMSNormEps: "1e-5", InitStd: "0.02",
	}
}

// example is a state in which no two numbers are equal by accident.
func example() *State {
	config := tiny()
	s := New(config, make([]float32, config.Params()))
	for i := range s.Params {
		s.Params[i] = float32(i) / 64
		s.Fast[i] = -float32(i) / 128
		s.Slow[i] = float32(i%7) / 256
		s.Square[i] = float32(i%5) / 512
	}
	s.Step = 3
	return s
}

var tokenizer = []byte("{\"stands for\":\"a tokenizer\"}")

func about() Manifest {
	return Manifest{
		Run: digest.Of([]byte("run")), Round: 4, Parent: digest.Of([]byte("parent")), Tokenizer: digest.Of(tokenizer),
		Shards: digest.Of([]byte("shards")), Sequences: 24, Goldfish: run.Goldfish{K: 50, H: 13, Scheme: "apertus"},
		Profile: "exact", LogSize: 40, LogRoot: digest.Of([]byte("log")),
	}
}

func write(t *testing.T) (dir string, sum digest.Sum) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "checkpoint")
	sum, _, err := Write(dir, example(), tokenizer, about())
	if err != nil {
		t.Fatal(err)
	}
	return dir, sum
}

func TestRoundTrip(t *testing.T) {
	dir, sum := write(t)
	state, gotSum, m, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := example()
	if state.Root() != want.Root() || m.State != want.Root() || gotSum != sum {
		t.Errorf("read back state %s, manifest %s; wrote %s, %s", state.Root(), gotSum, want.Root(), sum)
	}
	if !slices.Equal(state.Params, want.Params) || !slices.Equal(state.Slow, want.Slow) || state.Step != want.Step {
		t.Error("read back other numbers than were written")
	}
	if _, _, err := Write(dir, want, tokenizer, about()); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("writing over a checkpoint: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".checkpoint-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary folders left behind: %q, %v", left, err)
	}
}

// TestGolden pins the bytes of every file, by way of the manifest that names
// them, and the state root.
func TestGolden(t *testing.T) {
	const (
		wantState    = "8b0f7f396b96ff580b9dc51fa51f1559045e794b75fe2dc3e954ad08cc5db1a1"
		wantManifest = "b4d31a93e9fd6494db19089019074b38c5eeb719d5169e6996f515ab07ac2b85"
	)
	_, sum := write(t)
	if got := example().Root().String(); got != wantState {
		t.Errorf("state root is %s, want %s", got, wantState)
	}
	if sum.String() != wantManifest {
		t.Errorf("manifest is %s, want %s", sum, wantManifest)
	}
}

// TestRootIsReproducible recomputes the state root from the safetensors files
// as a stranger would: header by encoding/json, bytes by offset.
func TestRootIsReproducible(t *testing.T) {
	dir, _ := write(t)
	lines := map[string]string{}
	for _, name := range []string{weightsFile, optimizerFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n := binary.LittleEndian.Uint64(b)
		var header map[string]struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(bytes.Replace(b[8:8+n], []byte(`"__metadata__":{"format":"pt"},`), nil, 1), &header); err != nil {
			t.Fatal(err)
		}
		if n%8 != 0 {
			t.Errorf("%s: data starts at byte %d", name, 8+n)
		}
		for tensor, h := range header {
			shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(h.Shape), "[]"), " ", "x")
			if shape == "" {
				shape = "-"
			}
			data := b[8+n:][h.Offsets[0]:h.Offsets[1]]
			lines[tensor] = fmt.Sprintf("%s %s %s %s\n", tensor, h.DType, shape, digest.Of(data))
		}
	}
	var leaves []digest.Sum
	for _, prefix := range []string{"", "m1.", "m2.", "v."} {
		for _, tensor := range tiny().Tensors() {
			leaves = append(leaves, digest.Leaf([]byte(lines[prefix+tensor.Name])))
		}
	}
	leaves = append(leaves, digest.Leaf([]byte(lines["step"])))
	if got, want := digest.Root(leaves), example().Root(); got != want {
		t.Errorf("by hand the state root is %s, want %s", got, want)
	}
}

// TestRefusals breaks one thing at a time and expects it to be named.
func TestRefusals(t *testing.T) {
	flip := func(name string, at int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, name), func(b []byte) []byte { b[at] ^= 1; return b })
		}
	}
	for name, c := range map[string]struct {
		break_ func(*testing.T, string)
		want   string
	}{
		"missing file":    {func(t *testing.T, d string) { must(t, os.Remove(filepath.Join(d, configFile))) }, "config.json is missing"},
		"extra file":      {func(t *testing.T, d string) { must(t, os.WriteFile(filepath.Join(d, "evil.bin"), nil, 0o644)) }, "evil.bin is an extra file"},
		"extra folder":    {func(t *testing.T, d string) { must(t, os.Mkdir(filepath.Join(d, "sub"), 0o755)) }, "sub is no regular file"},
		"a link":          {func(t *testing.T, d string) { must(t, os.Symlink("/etc/passwd", filepath.Join(d, "x"))) }, "x is no regular file"},
		"flipped weights": {flip(weightsFile, 4096), "model.safetensors"},
		"flipped moments": {flip(optimizerFile, 8192), "optimizer.safetensors"},
		"flipped config":  {flip(configFile, 10), "config.json"},
		"flipped tokens":  {flip(TokenizerFile, 3), "tokenizer.json"},
		"truncated": {func(t *testing.T, d string) {
			edit(t, filepath.Join(d, weightsFile), func(b []byte) []byte { return b[:len(b)-1] })
		}, "bytes long"},
		"manifest key": {func(t *testing.T, d string) {
			edit(t, filepath.Join(d, ManifestFile), func(b []byte) []byte { return bytes.Replace(b, []byte(`{"files"`), []byte(`{"extra":1,"files"`), 1) })
		}, "unknown field"},
		"manifest path": {func(t *testing.T, d string) {
			edit(t, filepath.Join(d, ManifestFile), func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"config.json"`), []byte(`"../../x.json"`), 1)
			})
		}, "want exactly"},
		"manifest spaces": {func(t *testing.T, d string) {
			edit(t, filepath.Join(d, ManifestFile), func(b []byte) []byte { return append(b, '\n') })
		}, "not canonical"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := write(t)
			c.break_(t, dir)
			_, _, _, err := Read(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Read: %v, want something with %q", err, c.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, change(b), 0o644))
}

// TestHostileHeader reads safetensors files whose header lies, past the digest
// check.
func TestHostileHeader(t *testing.T) {
	var good bytes.Buffer
	must(t, writeTensors(&good, example().weightTensors()))
	for name, change := range map[string]func([]byte) []byte{
		"length of 2^63":  func(b []byte) []byte { binary.LittleEndian.PutUint64(b, 1<<63); return b },
		"length of 0":     func(b []byte) []byte { binary.LittleEndian.PutUint64(b, 0); return b },
		"other dtype":     func(b []byte) []byte { return bytes.Replace(b, []byte("F32"), []byte("F64"), 1) },
		"other shape":     func(b []byte) []byte { return bytes.Replace(b, []byte("[16,8]"), []byte("[8,16]"), 1) },
		"overlap":         func(b []byte) []byte { return bytes.Replace(b, []byte("[512,"), []byte("[511,"), 1) },
		"cut in header":   func(b []byte) []byte { return b[:100] },
		"cut in data":     func(b []byte) []byte { return b[:len(b)-3] },
		"data after":      func(b []byte) []byte { return append(b, 0) },
		"beta not beta":   func(b []byte) []byte { b[len(b)-8] ^= 1; return b },
		"nothing at all":  func([]byte) []byte { return nil },
		"not safetensors": func([]byte) []byte { return []byte("PK\x03\x04 this is a zip file, perhaps") },
	} {
		t.Run(name, func(t *testing.T) {
			b := change(slices.Clone(good.Bytes()))
			if bytes.Equal(b, good.Bytes()) {
				t.Fatal("nothing was changed")
			}
			if err := readTensors(bytes.NewReader(b), example().weightTensors()); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	dir, sum := write(t)
	if _, err := ReadSignatures(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no signatures yet: %v", err)
	}
	_, m, err := ReadManifest(dir)
	must(t, err)
	want := Signatures{Checkpoint: m.Statement(sum)}
	want.Members = append(want.Members, [65]byte{1})
	want.Coordinators = append(want.Coordinators, [65]byte{2})
	for range 2 { // the second time replaces the first
		must(t, WriteSignatures(dir, want))
	}
	got, err := ReadSignatures(dir)
	if err != nil || got.Checkpoint != want.Checkpoint || !slices.Equal(got.Members, want.Members) || !slices.Equal(got.Coordinators, want.Coordinators) {
		t.Errorf("read back %v, %v", got, err)
	}
	if _, _, err := Check(dir); err != nil {
		t.Errorf("a signed checkpoint: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "checkpoint")
	if _, _, err := Write(dir, example(), tokenizer, about()); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		if again, err := m.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("accepted bytes that marshal to others: %v", err)
		}
	})
}

func FuzzReadTensors(f *testing.F) {
	var good bytes.Buffer
	if err := writeTensors(&good, example().optimizerTensors()); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := example()
		if readTensors(bytes.NewReader(b), s.optimizerTensors()) != nil {
			return
		}
		var again bytes.Buffer
		if err := writeTensors(&again, s.optimizerTensors()); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Errorf("accepted bytes that write to others: %v", err)
		}
	})
}

func FuzzParseSignatures(f *testing.F) {
	s := Signatures{}
	s.Members = append(s.Members, [65]byte{1})
	b, err := s.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSignatures(b)
		if err != nil {
			return
		}
		if again, err := s.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("accepted bytes that marshal to others: %v", err)
		}
	})
}
