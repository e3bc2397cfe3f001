package checkpoint

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/allmend-network/allmend/trainer/cpu"
	"github.com/allmend-network/allmend/trainer/model"
	"github.com/allmend-network/allmend/verify/digest"
)

var export = flag.String("export", "", "write the example that testdata/compare.py reads into this folder")

// tolerance is against Hugging Face transformers in float32, as relative L2
// distances.
type tolerance struct{ forward, backward float64 }

// With operands rounded alike, forward passes differ in the order of sums and
// in exp only. Backward, softmax's Σ p·dp is computed as Σ do·o here, as flash
// attention does: equal in exact arithmetic, but o went through bfloat16, whose
// 2^-9 then shows. Without rounding on their side, ours shows everywhere.
var (
	rounded   = tolerance{1e-5, 2e-2}
	unrounded = tolerance{1e-2, 3e-2}
)

// exampleModel is a state that hides nothing: no weight is 0 or 1, no two
// layers are alike.
func exampleModel() *State {
	config := tiny()
	config.VocabSize, config.HiddenSize, config.NumAttentionHeads, config.InitStd = 48, 32, 4, "0.15"
	config.NumKeyValueHeads = 2
	s := New(config, config.Init(7))
	for _, t := range config.Tensors() {
		if len(t.Shape) == 1 {
			for i := range t.Len {
				s.Params[t.Offset+i] += float32((i*37+t.Offset)%19)/40 - 0.2
			}
		}
	}
	return s
}

// exampleSequence holds two documents, so that masks and positions matter.
func exampleSequence() model.Sequence {
	tokens := []int32{1, 17, 9, 33, 2, 1, 40, 5, 5, 21, 47, 8, 30}
	return model.NewSequence(tokens, nil)
}

// TestTransformers holds logits, loss and gradients against those that
// testdata/compare.py wrote.
func TestTransformers(t *testing.T) {
	state, sequence := exampleModel(), exampleSequence()
	if *export != "" {
		exportExample(t, state, sequence)
		return
	}
	b, err := os.ReadFile(filepath.Join("testdata", "transformers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Python, Torch, Transformers string
		Rounded, Unrounded          result
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	t.Logf("written by transformers %s, torch %s, Python %s", golden.Transformers, golden.Torch, golden.Python)
	m, err := model.New(state.Config, cpu.New(1))
	must(t, err)
	must(t, m.SetParams(state.Params))
	logits, err := m.Logits(sequence.Input)
	must(t, err)
	losses, err := m.Accumulate([]model.Sequence{sequence})
	must(t, err)
	gradient := make([]float32, len(state.Params))
	must(t, m.Gradient(gradient))
	t.Run("rounded", func(t *testing.T) {
		golden.Rounded.compare(t, state.Config, logits, losses[0], gradient, rounded)
	})
	t.Run("unrounded", func(t *testing.T) {
		golden.Unrounded.compare(t, state.Config, logits, losses[0], gradient, unrounded)
	})
}

type result struct {
	Logits    string
	Loss      float64
	Gradients map[string]string
}

func (r result) compare(t *testing.T, config model.Config, logits []float32, loss float32, gradient []float32, allowed tolerance) {
	forward := distance(t, logits, r.Logits)
	if forward > allowed.forward {
		t.Errorf("logits are off by %.2e", forward)
	}
	if off := math.Abs(float64(loss)-r.Loss) / r.Loss; off > allowed.forward {
		t.Errorf("loss is %v, want %v", loss, r.Loss)
	}
	if len(r.Gradients) != len(config.Tensors()) {
		t.Errorf("%d gradients, want %d", len(r.Gradients), len(config.Tensors()))
	}
	worst := 0.0
	for _, tensor := range config.Tensors() {
		d := distance(t, gradient[tensor.Offset:tensor.Offset+tensor.Len], r.Gradients[tensor.Name])
		if d > allowed.backward {
			t.Errorf("gradient of %s is off by %.2e", tensor.Name, d)
		}
		worst = max(worst, d)
	}
	t.Logf("loss %v against %v; relative L2 distance of logits %.2e, of the worst gradient %.2e", loss, r.Loss, forward, worst)
}

// distance is ‖got − want‖ / ‖want‖, want in base64 of little-endian float32.
func distance(t *testing.T, got []float32, want string) float64 {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(want)
	if err != nil || len(b) != 4*len(got) {
		t.Fatalf("golden vector of %d bytes for %d numbers: %v", len(b), len(got), err)
	}
	var difference, norm float64
	for i, g := range got {
		w := float64(math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24))
		difference += (float64(g) - w) * (float64(g) - w)
		norm += w * w
	}
	return math.Sqrt(difference / norm)
}

func exportExample(t *testing.T, state *State, s model.Sequence) {
	must(t, os.MkdirAll(*export, 0o755))
	if _, _, err := Write(filepath.Join(*export, "checkpoint"), state, tokenizer, Manifest{Tokenizer: digest.Of(tokenizer)}); err != nil {
		t.Fatal(err)
	}
	mask := make([]int, len(s.Mask))
	for i, x := range s.Mask {
		mask[i] = int(x)
	}
	b, err := json.Marshal(map[string]any{"input": s.Input, "label": s.Label, "position": s.Position, "mask": mask})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(*export, "example.json"), b, 0o644))
}
