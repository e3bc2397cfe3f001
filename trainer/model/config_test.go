package model

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// apertus returns the configuration of a released Apertus model.
func apertus(hidden, layers, heads, intermediate int) Config {
	return Config{
		VocabSize: 131072, HiddenSize: hidden, IntermediateSize: intermediate,
		NumHiddenLayers: layers, NumAttentionHeads: heads, NumKeyValueHeads: 8,
		MaxPositionEmbeddings: 65536, RopeTheta: "12000000",
		RopeScaling: &RopeScaling{
			Factor: "8", LowFreqFactor: "1", HighFreqFactor: "4",
			OriginalMaxPositionEmbeddings: 8192,
		},
		RMSNormEps: "1e-5", InitStd: "0.008944",
	}
}

func apertus8B() Config { return apertus(4096, 32, 32, 21504) }

// small is a model whose every dimension differs.
var small = Config{
	VocabSize: 50, HiddenSize: 24, IntermediateSize: 40, NumHiddenLayers: 3,
	NumAttentionHeads: 4, NumKeyValueHeads: 2, MaxPositionEmbeddings: 64,
	RopeTheta: "10000", RMSNormEps: "0.00001", InitStd: "0.02",
}

func TestParams(t *testing.T) {
	for _, v := range []struct {
		name   string
		config Config
		want   int
	}{
		{"8B", apertus8B(), 8_053_338_176},
		{"70B", apertus(8192, 80, 64, 43008), 70_599_864_480},
	} {
		if err := v.config.Validate(); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		if got := v.config.Params(); got != v.want {
			t.Errorf("%s has %d parameters, want %d", v.name, got, v.want)
		}
		if got := v.config.HeadDim(); got != 128 {
			t.Errorf("%s has head dimension %d", v.name, got)
		}
		tensors := v.config.Tensors()
		if last := tensors[len(tensors)-1]; last.Offset+last.Len != v.want {
			t.Errorf("%s: layout ends at %d", v.name, last.Offset+last.Len)
		}
	}
}

func TestValidateNamesTheField(t *testing.T) {
	if err := small.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Config){
		"vocab_size":              func(c *Config) { c.VocabSize = 3 },
		"hidden_size":             func(c *Config) { c.HiddenSize = 22 },
		"intermediate_size":       func(c *Config) { c.IntermediateSize = 0 },
		"num_hidden_layers":       func(c *Config) { c.NumHiddenLayers = -1 },
		"num_attention_heads":     func(c *Config) { c.NumAttentionHeads = 1 << 40 },
		"num_key_value_heads":     func(c *Config) { c.NumKeyValueHeads = 3 },
		"max_position_embeddings": func(c *Config) { c.MaxPositionEmbeddings = math.MaxInt },
		"rope_theta":              func(c *Config) { c.RopeTheta = "0" },
		"rms_norm_eps":            func(c *Config) { c.RMSNormEps = "1e-99" },
		"init_std":                func(c *Config) { c.InitStd = "0x1p-3" },
		"rope_scaling.factor":     func(c *Config) { s := *apertus8B().RopeScaling; s.Factor = "NaN"; c.RopeScaling = &s },
		"high_freq_factor":        func(c *Config) { s := *apertus8B().RopeScaling; s.HighFreqFactor = "1"; c.RopeScaling = &s },
		"original_max_position": func(c *Config) {
			s := *apertus8B().RopeScaling
			s.OriginalMaxPositionEmbeddings = 0
			c.RopeScaling = &s
		},
	} {
		c := small
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s spoiled: error %v", field, err)
		}
	}
}

func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0.02", "1e-5", "12000000", "1e5", "1e99", "00.1", "-1", "1e-45", "inf", "1.", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := decimal(s)
		if err != nil {
			return
		}
		if f := float32(v); !(f > 0) || math.IsInf(float64(f), 0) {
			t.Errorf("decimal(%q) = %g", s, v)
		}
		if !json.Valid([]byte(s)) {
			t.Errorf("decimal(%q) is no JSON number", s)
		}
	})
}

func TestHFConfig(t *testing.T) {
	raw, err := HFConfig(apertus8B())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"model_type": "apertus", "hidden_act": "xielu", "hidden_size": 4096.0,
		"intermediate_size": 21504.0, "rms_norm_eps": 1e-5, "rope_theta": 12e6,
		"bos_token_id": 1.0, "eos_token_id": 2.0, "pad_token_id": 3.0,
		"tie_word_embeddings": false, "dtype": "float32", "torch_dtype": "float32",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		rope := got[key].(map[string]any)
		if rope["rope_type"] != "llama3" || rope["factor"] != 8.0 || rope["original_max_position_embeddings"] != 8192.0 {
			t.Errorf("%s is %v", key, rope)
		}
	}
	if got["rope_parameters"].(map[string]any)["rope_theta"] != 12e6 {
		t.Error("rope_parameters has no rope_theta")
	}
	raw, err = HFConfig(small)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"rope_scaling": null`) || !strings.Contains(string(raw), `"rope_type": "default"`) {
		t.Errorf("without scaling:\n%s", raw)
	}
}
