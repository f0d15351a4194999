package autobuild

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"slipway/config/secret"
)

// NewToken returns 256 random bits, in letters that headers, cookies and URLs take as they are.
func NewToken() secret.Secret {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails: https://pkg.go.dev/crypto/rand#Read
	return secret.New(base64.RawURLEncoding.EncodeToString(random))
}

// TokenHash is the form in which a token is stored and looked up, a runner's as well as a
// session's: the hex SHA-256 of it. Tokens are random, so no salt is needed.
func TokenHash(token secret.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}
