// Package checkpoint is training state on disk: a folder in Hugging Face layout,
// the manifest that names every byte of it, and the signatures over that.
//
//	config.json  generation_config.json  tokenizer.json   what transformers reads
//	model.safetensors                                     float32 weights
//	optimizer.safetensors                                 moments and step
//	manifest.json                                         canonical JSON, names all of the above
//	signatures.json                                       canonical JSON, may be absent
//
// The state root is the RFC 6962 root over one line of text for each tensor,
//
//	<name> <dtype> <shape, "2048x128" or "-"> <SHA-256 of its bytes>\n
//
// weights in layout order, then m1, m2 and v, then step; so sha256sum and a
// text editor can follow it. See docs/formats.md, "Checkpoint".
package checkpoint
