// Package seal encrypts secrets at rest with AES-256-GCM. A sealed value begins with the
// id of its key, and is bound by additional data to the table, column and row it stands in:
// copied to another row it does not open.
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

// ErrUnknownKey means that a value was sealed with a key that the key file does not hold.
var ErrUnknownKey = errors.New("sealed with a key that the key file does not hold")

// A Sealer seals and opens with one current key and any number of older ones. It is
// immutable and safe for concurrent use.
type Sealer struct {
	current byte
	keys    map[byte]cipher.AEAD
}

// New makes a Sealer of keys by id; current is the id that Seal uses.
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
		if s.keys[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("key %d: %w", id, err)
		}
	}
	if s.keys[current] == nil {
		return nil, fmt.Errorf("there is no key %d", current)
	}
	return s, nil
}

// Seal encrypts; place is "table/column/row". An empty secret is sealed as nothing, so that
// "not set" stays visible.
func (s *Sealer) Seal(place string, v secret.Secret) ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	if place == "" {
		return nil, errors.New("seal: no place given")
	}
	return s.keys[s.current].Seal([]byte{s.current}, nil, []byte(v.Reveal()), []byte(place)), nil //nolint:gosec // the key id is a prefix; the nonce is random, by NewGCMWithRandomNonce
}

// Open decrypts what Seal wrote for the same place. ErrUnknownKey when the key is not
// held; any other error means that the value was altered or stands in another place.
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
