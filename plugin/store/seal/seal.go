// Package seal encrypts secrets at rest with AES-256-GCM. The first byte of a sealed value is the
// id of its key. Additional data binds the value to its table, column and row: a copy in another
// row does not open.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"slipway/config/secret"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// removedKept is how long a Sealer keeps a key that was removed from its file. A value that was
// read before the removal still opens.
const removedKept = 10 * time.Second

// ErrUnknownKey means that the key file does not contain the key of a sealed value.
var ErrUnknownKey = errors.New("the key file does not contain the key of this value")

// A Sealer seals and opens values with the keys of a key file. It reads the file again if it meets
// a key that it does not have, and in Refresh. So a running gateway gets a new key without a
// restart. It is safe for concurrent use.
type Sealer struct {
	path string           // of the key file; empty = the keys never change
	now  func() time.Time // time.Now, except in tests

	mu        sync.RWMutex
	newest    byte
	keys      map[byte]key
	removed   map[byte]time.Time // keys that are no longer in the file, by the time when this was seen
	loaded    stamp              // of the file with these keys
	announced bool               // Refresh has returned these keys as changed
}

// A key is one key of a Sealer.
type key struct {
	aead        cipher.AEAD
	fingerprint string
}

// A KeyID identifies a key: the id, and a fingerprint in hex that differs for another key with the
// same id. It contains nothing of the key.
type KeyID struct {
	ID          byte
	Fingerprint string
}

// String returns the key's id and fingerprint, e.g. "2-9f86d081884c7d65".
func (k KeyID) String() string { return fmt.Sprintf("%d-%s", k.ID, k.Fingerprint) }

// New returns a Sealer for keys by id. newest is the id of the key to use for new values.
func New(newest byte, keys map[byte][]byte) (*Sealer, error) {
	s := &Sealer{now: time.Now, newest: newest, keys: make(map[byte]key, len(keys)), removed: map[byte]time.Time{}}
	for id, bytes := range keys {
		one, err := newKey(bytes)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", id, err)
		}
		s.keys[id] = one
	}
	if s.keys[newest].aead == nil {
		return nil, fmt.Errorf("no key with id %d", newest)
	}
	return s, nil
}

func newKey(bytes []byte) (key, error) {
	if len(bytes) != KeySize {
		return key{}, fmt.Errorf("it has %d bytes, not %d", len(bytes), KeySize)
	}
	block, err := aes.NewCipher(bytes)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	mac := hmac.New(sha256.New, bytes)
	mac.Write([]byte("fingerprint of a key of Slipway"))
	return key{aead: aead, fingerprint: hex.EncodeToString(mac.Sum(nil)[:8])}, nil
}

// Newest returns the key to use for new values: the last one of the file.
func (s *Sealer) Newest() KeyID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return KeyID{ID: s.newest, Fingerprint: s.keys[s.newest].fingerprint}
}

// Keys returns all keys of the file, by id. Keys that were removed from it are left out.
func (s *Sealer) Keys() []KeyID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []KeyID
	for _, id := range slices.Sorted(maps.Keys(s.keys)) {
		if s.removed[id].IsZero() {
			all = append(all, KeyID{ID: id, Fingerprint: s.keys[id].fingerprint})
		}
	}
	return all
}

// Seal encrypts v with the key with this id. place is "table/column/row", for example
// "accounts/access_token/a". It returns nil for an empty secret, so that the database shows that
// the secret is not set. It returns ErrUnknownKey if the key is not in the key file.
func (s *Sealer) Seal(id byte, place string, v secret.Secret) ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	if place == "" {
		return nil, errors.New("seal: no place given")
	}
	key, err := s.key(id)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", place, err)
	}
	//nolint:gosec // the key id is a prefix; NewGCMWithRandomNonce adds a random nonce
	return key.Seal([]byte{id}, nil, []byte(v.Reveal()), []byte(place)), nil
}

// Open decrypts a value that Seal returned for the same place. It returns ErrUnknownKey if the key
// is not in the key file. Any other error means that the value was altered or is in another place.
func (s *Sealer) Open(place string, sealed []byte) (secret.Secret, error) {
	if len(sealed) == 0 {
		return secret.Secret{}, nil
	}
	key, err := s.key(sealed[0])
	if err != nil {
		return secret.Secret{}, fmt.Errorf("open %s: %w", place, err)
	}
	plain, err := key.Open(nil, nil, sealed[1:], []byte(place))
	if err != nil {
		return secret.Secret{}, fmt.Errorf("open %s with key %d: %w", place, sealed[0], err)
	}
	return secret.New(string(plain)), nil
}

// key returns the key with this id. It reads the file again if it does not have the key.
func (s *Sealer) key(id byte) (cipher.AEAD, error) {
	if aead := s.loadedKey(id); aead != nil {
		return aead, nil
	}
	s.mu.Lock()
	err := s.reload()
	s.mu.Unlock()
	if aead := s.loadedKey(id); aead != nil {
		return aead, nil
	}
	if err != nil {
		return nil, fmt.Errorf("key %d: %w: %w", id, ErrUnknownKey, err)
	}
	return nil, fmt.Errorf("key %d: %w", id, ErrUnknownKey)
}

func (s *Sealer) loadedKey(id byte) cipher.AEAD {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys[id].aead
}
