package autobuild

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"slipway/config/secret"
)

// NewToken returns 256 random bits in characters that need no escaping in headers, cookies and
// URLs.
func NewToken() secret.Secret {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails: https://pkg.go.dev/crypto/rand#Read
	return secret.New(base64.RawURLEncoding.EncodeToString(random))
}

// TokenHash returns the hex SHA-256 of a runner's or session's token. Tokens are stored and looked
// up in this form. They are random, so the hash needs no salt.
func TokenHash(token secret.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}
