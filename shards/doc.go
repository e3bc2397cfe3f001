// Package shards is token and document shards: their file formats, the
// manifest that names every byte of them, stores of their blocks, and the
// reader that cuts the tokens into training samples.
//
// # A shard folder
//
//	manifest.json            canonical JSON, see [Manifest]
//	tokenizer.json           Hugging Face tokenizer
//	tokens-00000.bin, .idx   Megatron indexed dataset, see [Index]
//	documents-00000.parquet  one row per document kept, see [Document]
//	dropped.parquet          one row per document dropped, see [Dropped]
//
// A file is cut into blocks of 1 MiB (the last may be shorter). Its manifest
// row lists the SHA-256 of the file and of each block; a block travels under
// that name and nothing else. The manifest's own SHA-256 names the shards.
// dropped.parquet says what was left out and why; it goes to members and to
// admitted auditors only ([Manifest.Restricted]).
//
// # The token stream
//
// The .bin files hold int32 little-endian tokens and nothing else. In the
// order of the manifest they make one stream, in which each document is
// <s> text </s>. Documents were put into a seeded order when they were packed,
// so that neighbours come from different sites and languages. Sample i at
// sequence length T is the T+1 tokens at [i·T, i·T+T+1): neighbouring samples
// share one token, and ⌊(tokens−1)/T⌋ samples exist.
package shards
