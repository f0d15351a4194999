// Package seal encrypts secrets at rest with AES-256-GCM. The first byte of a sealed value is the
// id of its key. Additional data binds the value to its table, column and row: a copy in another
// row does not open.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"slipway/config/secret"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// ErrUnknownKey means that the key file does not contain the key of a sealed value.
var ErrUnknownKey = errors.New("the key file does not contain the key of this value")

// A Sealer seals with one current key, and opens with it and any number of older ones. It is
// immutable and safe for concurrent use.
type Sealer struct {
	current byte
	keys    map[byte]cipher.AEAD
}

// New returns a Sealer for keys by id. current is the id of the key that Seal uses.
func New(current byte, keys map[byte][]byte) (*Sealer, error) {
	s := &Sealer{current: current, keys: make(map[byte]cipher.AEAD, len(keys))}
	for id, key := range keys {
		if len(key) != KeySize {
			return nil, fmt.Errorf("key %d has %d bytes, not %d", id, len(key), KeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", id, err)
		}
		s.keys[id], err = cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", id, err)
		}
	}
	if s.keys[current] == nil {
		return nil, fmt.Errorf("no key with id %d", current)
	}
	return s, nil
}

// Seal encrypts v. place is "table/column/row", for example "accounts/access_token/a". It returns
// nil for an empty secret, so that the database shows that the secret is not set.
func (s *Sealer) Seal(place string, v secret.Secret) ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	if place == "" {
		return nil, errors.New("seal: no place given")
	}
	//nolint:gosec // the key id is a prefix; NewGCMWithRandomNonce adds a random nonce
	return s.keys[s.current].Seal([]byte{s.current}, nil, []byte(v.Reveal()), []byte(place)), nil
}

// Open decrypts a value that Seal returned for the same place. It returns ErrUnknownKey if the key
// is not in the key file. Any other error means that the value was altered or is in another place.
func (s *Sealer) Open(place string, sealed []byte) (secret.Secret, error) {
	if len(sealed) == 0 {
		return secret.Secret{}, nil
	}
	key := s.keys[sealed[0]]
	if key == nil {
		return secret.Secret{}, fmt.Errorf("open %s: key %d: %w", place, sealed[0], ErrUnknownKey)
	}
	plain, err := key.Open(nil, nil, sealed[1:], []byte(place))
	if err != nil {
		return secret.Secret{}, fmt.Errorf("open %s with key %d: %w", place, sealed[0], err)
	}
	return secret.New(string(plain)), nil
}
