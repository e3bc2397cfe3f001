package model

import (
	"encoding/json"
	"fmt"
)

// HFConfig returns the config.json with which Hugging Face transformers, 4.56
// or later, opens a checkpoint of c as ApertusForCausalLM. It gives rotary
// settings twice: as rope_theta and rope_scaling for transformers 4, and as
// rope_parameters for 5.
func HFConfig(c Config) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	number := func(s string) json.RawMessage { return json.RawMessage(s) }
	rope := map[string]any{"rope_type": "default", "rope_theta": number(c.RopeTheta)}
	var scaling map[string]any
	if s := c.RopeScaling; s != nil {
		scaling = map[string]any{
			"rope_type":                        "llama3",
			"factor":                           number(s.Factor),
			"low_freq_factor":                  number(s.LowFreqFactor),
			"high_freq_factor":                 number(s.HighFreqFactor),
			"original_max_position_embeddings": s.OriginalMaxPositionEmbeddings,
		}
		for k, v := range scaling {
			rope[k] = v
		}
	}
	out, err := json.MarshalIndent(map[string]any{
		"architectures":           []string{"ApertusForCausalLM"},
		"model_type":              "apertus",
		"vocab_size":              c.VocabSize,
		"hidden_size":             c.HiddenSize,
		"intermediate_size":       c.IntermediateSize,
		"num_hidden_layers":       c.NumHiddenLayers,
		"num_attention_heads":     c.NumAttentionHeads,
		"num_key_value_heads":     c.NumKeyValueHeads,
		"max_position_embeddings": c.MaxPositionEmbeddings,
		"rms_norm_eps":            number(c.RMSNormEps),
		"initializer_range":       number(c.InitStd),
		"rope_theta":              number(c.RopeTheta),
		"rope_scaling":            scaling,
		"rope_parameters":         rope,
		"hidden_act":              "xielu",
		"attention_bias":          false,
		"attention_dropout":       0.0,
		"mlp_bias":                false,
		"qk_norm":                 true,
		"post_norm":               false,
		"tie_word_embeddings":     false,
		"use_cache":               true,
		"bos_token_id":            BeginOfText,
		"eos_token_id":            EndOfText,
		"pad_token_id":            Padding,
		"dtype":                   "float32",
		"torch_dtype":             "float32",
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("model: write config.json: %w", err)
	}
	return append(out, '\n'), nil
}
