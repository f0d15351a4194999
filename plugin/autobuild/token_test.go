package autobuild_test

import (
	"regexp"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// A token is 256 random bits in characters that need no escaping. Each call returns another one.
func TestNewToken(t *testing.T) {
	shape := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	one, other := autobuild.NewToken(), autobuild.NewToken()
	if !shape.MatchString(one.Reveal()) {
		t.Errorf("token: got %d characters, want a token that matches %s", len(one.Reveal()), shape)
	}
	if one.Equal(other) {
		t.Error("two calls: got the same token, want different ones")
	}
}

func TestTokenHash(t *testing.T) {
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // from FIPS 180-2, B.1
	if got := autobuild.TokenHash(secret.New("abc")); got != want {
		t.Errorf("TokenHash = %s, want %s", got, want)
	}
}
