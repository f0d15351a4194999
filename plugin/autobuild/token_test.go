package autobuild_test

import (
	"regexp"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// A token is 256 bits that no header, cookie or URL has to escape, and another one each time.
func TestNewToken(t *testing.T) {
	shape := regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	one, other := autobuild.NewToken(), autobuild.NewToken()
	if !shape.MatchString(one.Reveal()) || one.Equal(other) {
		t.Errorf("a token of %d letters, twice the same: %t", len(one.Reveal()), one.Equal(other))
	}
}

func TestTokenHash(t *testing.T) {
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of FIPS 180-2, B.1
	if got := autobuild.TokenHash(secret.New("abc")); got != want {
		t.Errorf("TokenHash = %s, want %s", got, want)
	}
}
