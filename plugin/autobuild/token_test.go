package autobuild_test

import (
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

func TestTokenHash(t *testing.T) {
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of FIPS 180-2, B.1
	if got := autobuild.TokenHash(secret.New("abc")); got != want {
		t.Errorf("TokenHash = %s, want %s", got, want)
	}
}
