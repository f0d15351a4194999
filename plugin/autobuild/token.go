package autobuild

import (
	"crypto/sha256"
	"encoding/hex"

	"slipway/config/secret"
)

// TokenHash is the form in which a runner's token is stored and looked up: the hex SHA-256
// of the token. Tokens are random, so no salt is needed.
func TokenHash(token secret.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}
