// Package cosign signs images as `cosign sign --key` does: with a key of the user's own, and
// with the signature beside the image in its registry. There is no entry in a transparency log
// and no certificate, so `cosign verify --key cosign.pub --insecure-ignore-tlog` verifies it.
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

// The errors of a key, which show nothing of it.
var (
	ErrKey      = errors.New("is no private key that can be read: give what cosign generate-key-pair wrote, or an ECDSA, RSA or Ed25519 key in PEM")
	ErrPassword = errors.New("does not open the key")
)

// A Key signs. It is safe for concurrent use.
type Key struct{ pair signature.SignerVerifier }

// ParseKey reads a private key in PEM: cosign's own, encrypted with the password (which may be
// empty), or another, encrypted or not. ErrKey or ErrPassword when it cannot be read.
func ParseKey(text, password secret.Secret) (*Key, error) {
	private, err := cryptoutils.UnmarshalPEMToPrivateKey([]byte(strings.TrimSpace(text.Reveal())), cryptoutils.StaticPasswordFunc([]byte(password.Reveal())))
	if err != nil {
		if strings.Contains(text.Reveal(), "ENCRYPTED") {
			return nil, ErrPassword
		}
		return nil, ErrKey
	}
	pair, err := signature.LoadSignerVerifier(private, crypto.SHA256) // what cosign verifies by
	if err != nil {
		return nil, ErrKey
	}
	return &Key{pair}, nil
}

// sign signs a payload.
func (k *Key) sign(payload []byte) ([]byte, error) {
	made, err := k.pair.SignMessage(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return made, nil
}

// made reports whether a signature of a payload is of this key.
func (k *Key) made(sig, payload []byte) bool {
	return k.pair.VerifySignature(bytes.NewReader(sig), bytes.NewReader(payload)) == nil
}
