// Package keyfile is a private key on disk: one file that only its owner may
// read, in the clear or under a passphrase.
//
// A key file is canonical JSON of at most [MaxSize] bytes, either
//
//	{"address":"0x…","secret":"64 hexadecimal digits","version":1}
//
// or, under a passphrase,
//
//	{"address":"0x…","sealed":{"ciphertext":"96 digits","salt":"32 digits","work":17},"version":1}
//
// The ciphertext is the 32 secret bytes under ChaCha20-Poly1305 with a zero
// nonce and the additional data "allmend key 1 " ‖ address. Its key is
// scrypt(passphrase, salt, N = 2^work, r = 8, p = 1) of 32 bytes; a salt is
// drawn for each file, so no key is used twice. The address lets a reader
// name the key without the passphrase; it is checked against the secret when
// that is opened. See docs/formats.md, "Key file".
package keyfile
