// Package cosign signs images as `cosign sign --key` does: with the user's key, and with the signature
// stored next to the image in its registry. It writes no entry to a transparency log and uses no
// certificate. So the command to verify is `cosign verify --key cosign.pub --insecure-ignore-tlog`.
package cosign

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"slipway/config/secret"
)

// ErrKey reports a key that cannot be parsed, and ErrPassword a wrong password. Neither error contains
// any part of the key.
var (
	ErrKey = errors.New("is not a readable private key: set the private key of cosign generate-key-pair, " +
		"or an ECDSA, RSA or Ed25519 key in PEM")
	ErrPassword = errors.New("is not the password of the key")
)

// A Key is a private key for signatures. It is safe for concurrent use.
type Key struct{ pair signature.SignerVerifier }

// ParseKey parses a private key in PEM. The key is either one of cosign, encrypted with the password
// (which may be empty), or another key, encrypted or not. ParseKey returns ErrKey or ErrPassword.
func ParseKey(text, password secret.Secret) (*Key, error) {
	passwordFunc := cryptoutils.StaticPasswordFunc([]byte(password.Reveal()))
	private, err := cryptoutils.UnmarshalPEMToPrivateKey([]byte(strings.TrimSpace(text.Reveal())), passwordFunc)
	if err != nil {
		if strings.Contains(text.Reveal(), "ENCRYPTED") {
			return nil, ErrPassword
		}
		return nil, ErrKey
	}
	pair, err := signature.LoadSignerVerifier(private, crypto.SHA256) // cosign verifies with SHA-256
	if err != nil {
		return nil, ErrKey
	}
	return &Key{pair}, nil
}

// sign returns the signature of a payload.
func (k *Key) sign(payload []byte) ([]byte, error) {
	sig, err := k.pair.SignMessage(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

// verifies reports whether sig is a signature of the payload by this key.
func (k *Key) verifies(sig, payload []byte) bool {
	return k.pair.VerifySignature(bytes.NewReader(sig), bytes.NewReader(payload)) == nil
}
