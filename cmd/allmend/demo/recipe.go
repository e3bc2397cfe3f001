package demo

import (
	"fmt"
	"strings"

	"github.com/allmend-network/allmend/verify/identity"
)

const (
	vocabulary     = 2048
	sequenceLength = 128
	globalBatch    = 48 // 12 units: 4, 3 or 6 each for 3, 4 or 2 members
	defaultRounds  = 32
	minRounds      = 12 // fewer leave no time for every fault
	maxRounds      = 1000
)

// recipe is a run.yaml for a model of about a million parameters, with a
// schedule as long as the run. It was tuned on the generated web: after 32
// rounds the loss on held-back pages is far below what counting words gives.
func recipe(name string, rounds int, coordinators, members []identity.Address) string {
	return fmt.Sprintf(`name: %s
coordinators: [%s]
members: [%s]
min_members: 1
max_members: 8
model:
  vocab_size: 0
  hidden_size: 128
  intermediate_size: 384
  num_hidden_layers: 4
  num_attention_heads: 4
  num_key_value_heads: 2
  max_position_embeddings: %d
  rope_theta: 10000
  rms_norm_eps: 1e-5
  init_std: 0.02
init_seed: 1
data_seed: 1
sequence_length: %d
global_batch: %d
unit_sequences: 4
rounds: %d
checkpoint_every: %d
goldfish: {k: 50, h: 13, scheme: apertus}
optimizer:
  name: ademamix
  learning_rate: 0.004
  min_learning_rate: 0.0001
  warmup_steps: %d
  decay_steps: %d
  beta1: 0.9
  beta2: 0.99
  beta3: 0.99
  alpha: 4
  alpha_warmup: %d
  beta3_warmup: %d
  epsilon: 1e-8
  weight_decay: 0.1
  clip: 1
algorithm: sync
codec: f32
profile: exact
`, name, quoted(coordinators), quoted(members), sequenceLength, sequenceLength, globalBatch, rounds, checkpointEvery(rounds),
		min(5, rounds/4), rounds*3/10, rounds, rounds)
}

// checkpointEvery makes four checkpoints or so. Evidence covers the rounds since
// the last but one.
func checkpointEvery(rounds int) int { return rounds / 4 }

func quoted(addresses []identity.Address) string {
	var all []string
	for _, a := range addresses {
		all = append(all, `"`+a.String()+`"`)
	}
	return strings.Join(all, ", ")
}
