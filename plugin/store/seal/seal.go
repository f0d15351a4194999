// Package seal encrypts secrets at rest with AES-256-GCM. A sealed value begins with the
// id of its key, and is bound by additional data to the table, column and row it stands in.
package seal

import "slipway/config/secret"

// A Sealer seals and opens with one current key and any number of older ones.
type Sealer struct{}

// LoadOrCreate reads the key file at path, making it with mode 0600 when there is none and
// create is set. A file that others may read is refused.
func LoadOrCreate(path string, create bool) (*Sealer, error) { panic("stub") }

// Seal encrypts; place is "table/column/row".
func (s *Sealer) Seal(place string, v secret.Secret) ([]byte, error) { panic("stub") }

// Open decrypts what Seal wrote for the same place.
func (s *Sealer) Open(place string, sealed []byte) (secret.Secret, error) { panic("stub") }
