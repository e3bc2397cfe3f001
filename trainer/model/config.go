package model

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/allmend-network/allmend/trainer/exact"
)

// Token ids that Apertus fixes for every tokenizer of the family.
const (
	BeginOfText = 1 // <s>, starts every document
	EndOfText   = 2 // </s>, ends every document
	// Padding is <pad>. Documents never hold it; Hugging Face's embedding would
	// give its row no gradient, ours treats it like any other token.
	Padding = 3
)

// The two constants of xIELU that are stored with a checkpoint but never
// trained (Huang and Schlag, arXiv 2411.13010).
const (
	XIELUBeta float32 = 0.5
	XIELUEps  float32 = -1e-6
)

// Config is the shape of an Apertus transformer, in the names Hugging Face
// gives its fields. Fractions are decimal strings, because a Config is part of
// documents that are signed as canonical JSON, which has no fractions.
type Config struct {
	VocabSize             int          `json:"vocab_size" yaml:"vocab_size"`
	HiddenSize            int          `json:"hidden_size" yaml:"hidden_size"`
	IntermediateSize      int          `json:"intermediate_size" yaml:"intermediate_size"`
	NumHiddenLayers       int          `json:"num_hidden_layers" yaml:"num_hidden_layers"`
	NumAttentionHeads     int          `json:"num_attention_heads" yaml:"num_attention_heads"`
	NumKeyValueHeads      int          `json:"num_key_value_heads" yaml:"num_key_value_heads"`
	MaxPositionEmbeddings int          `json:"max_position_embeddings" yaml:"max_position_embeddings"`
	RopeTheta             string       `json:"rope_theta" yaml:"rope_theta"`
	RopeScaling           *RopeScaling `json:"rope_scaling,omitempty" yaml:"rope_scaling,omitempty"`
	RMSNormEps            string       `json:"rms_norm_eps" yaml:"rms_norm_eps"`
	InitStd               string       `json:"init_std" yaml:"init_std"`
}

// RopeScaling is the "llama3" stretching of rotary wavelengths. Factors are
// decimal strings.
type RopeScaling struct {
	Factor                        string `json:"factor" yaml:"factor"`
	LowFreqFactor                 string `json:"low_freq_factor" yaml:"low_freq_factor"`
	HighFreqFactor                string `json:"high_freq_factor" yaml:"high_freq_factor"`
	OriginalMaxPositionEmbeddings int    `json:"original_max_position_embeddings" yaml:"original_max_position_embeddings"`
}

// maxDimension bounds every integer of a Config, so that products of three of
// them never overflow an int64 and a hostile document cannot ask for more;
// maxLayers is some ten times the largest model of the family.
const (
	maxDimension = 1 << 20
	maxLayers    = 1 << 10
)

// Validate reports the first thing that makes c no Apertus model, by its JSON
// name.
func (c Config) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"vocab_size", c.VocabSize},
		{"hidden_size", c.HiddenSize},
		{"intermediate_size", c.IntermediateSize},
		{"num_hidden_layers", c.NumHiddenLayers},
		{"num_attention_heads", c.NumAttentionHeads},
		{"num_key_value_heads", c.NumKeyValueHeads},
		{"max_position_embeddings", c.MaxPositionEmbeddings},
	} {
		if f.value < 1 || f.value > maxDimension {
			return fmt.Errorf("model: %s is %d, want 1 to %d", f.name, f.value, maxDimension)
		}
	}
	if c.NumHiddenLayers > maxLayers {
		return fmt.Errorf("model: num_hidden_layers is %d, want at most %d", c.NumHiddenLayers, maxLayers)
	}
	if c.VocabSize <= Padding {
		return fmt.Errorf("model: vocab_size is %d, want at least %d for the special tokens", c.VocabSize, Padding+1)
	}
	if c.HiddenSize%(2*c.NumAttentionHeads) != 0 {
		return fmt.Errorf("model: hidden_size %d is not an even multiple of num_attention_heads %d", c.HiddenSize, c.NumAttentionHeads)
	}
	if c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		return fmt.Errorf("model: num_attention_heads %d is not a multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	}
	for _, f := range []struct{ name, value string }{
		{"rope_theta", c.RopeTheta},
		{"rms_norm_eps", c.RMSNormEps},
		{"init_std", c.InitStd},
	} {
		if _, err := decimal(f.value); err != nil {
			return fmt.Errorf("model: %s: %w", f.name, err)
		}
	}
	return c.RopeScaling.validate()
}

func (s *RopeScaling) validate() error {
	if s == nil {
		return nil
	}
	var value [3]float64
	for i, f := range []struct{ name, value string }{
		{"factor", s.Factor},
		{"low_freq_factor", s.LowFreqFactor},
		{"high_freq_factor", s.HighFreqFactor},
	} {
		v, err := decimal(f.value)
		if err != nil {
			return fmt.Errorf("model: rope_scaling.%s: %w", f.name, err)
		}
		value[i] = v
	}
	if value[0] < 1 {
		return fmt.Errorf("model: rope_scaling.factor is %s, want at least 1", s.Factor)
	}
	if value[2] <= value[1] {
		return fmt.Errorf("model: rope_scaling.high_freq_factor %s is not above low_freq_factor %s", s.HighFreqFactor, s.LowFreqFactor)
	}
	if n := s.OriginalMaxPositionEmbeddings; n < 1 || n > maxDimension {
		return fmt.Errorf("model: rope_scaling.original_max_position_embeddings is %d, want 1 to %d", n, maxDimension)
	}
	return nil
}

// HeadDim returns the width of one attention head.
func (c Config) HeadDim() int { return c.HiddenSize / c.NumAttentionHeads }

// Params returns the number of trainable parameters.
func (c Config) Params() int {
	d, head := c.HiddenSize, c.HeadDim()
	kv := c.NumKeyValueHeads * head
	layer := 2*d*d + 2*d*kv + 2*d*c.IntermediateSize // projections
	layer += 2*d + 2*head + 2                        // norms, alphas
	return 2*c.VocabSize*d + c.NumHiddenLayers*layer + d
}

// normEps returns rms_norm_eps as the float32 nearest to its decimal.
func (c Config) normEps() float32 { return float32(mustDecimal(c.RMSNormEps)) }

// attentionScale returns 1/√HeadDim, rounded after the root and after the
// division.
func (c Config) attentionScale() float32 { return 1 / exact.Sqrt(float32(c.HeadDim())) }

var (
	decimalForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,15})(\.[0-9]{1,24})?(e-?[0-9]{1,2})?$`)
	errDecimal  = errors.New(`want a positive decimal such as "0.02" or "1e-5"`)
)

// decimal parses a positive decimal to the nearest float64. A value whose
// nearest float32 is zero or infinite is refused.
func decimal(s string) (float64, error) {
	if !decimalForm.MatchString(s) {
		return 0, fmt.Errorf("%.40q: %w", s, errDecimal)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || float32(v) == 0 || math.IsInf(float64(float32(v)), 0) {
		return 0, fmt.Errorf("%.40q: %w", s, errDecimal)
	}
	return v, nil
}

// mustDecimal is decimal for a Config that passed Validate.
func mustDecimal(s string) float64 {
	v, err := decimal(s)
	if err != nil {
		panic("model: config was not validated: " + err.Error())
	}
	return v
}
