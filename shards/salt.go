package shards

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// PathHash returns the HMAC-SHA-256 of a URL's path and query under the
// builder's salt, in hexadecimal: who has the salt can look up a page, who has
// not cannot guess which pages were dropped. The salt stays with the builder.
func PathHash(salt []byte, path string) string {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(path))
	return hex.EncodeToString(mac.Sum(nil))
}
