// Package secret holds values that must never be printed.
//
// A Secret shows itself as *** wherever formatting, JSON, YAML, text or structured
// logging reaches it; only Reveal gives the value. It imports the standard library
// alone, so every room of the program may use it.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Mask is what a Secret prints in place of its value.
const Mask = "***"

// A Secret is a value that does not print. Compare with Equal, not with ==. The zero Secret is empty. It is immutable
// and safe for concurrent use.
type Secret struct {
	// A pointer, nil when empty: where formatting goes round the methods, as for a wrong verb
	// or a nested pointer, it prints an address.
	value *string
}

// New wraps a value.
func New(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value. Calls of it are the places to look at in a review.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal compares in constant time for values of equal length.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns Mask, or nothing for an empty secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Mask
}

// Format prints Mask for every verb, %#v and %x included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText prints Mask, so encoders of JSON and YAML cannot leak the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the value as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}

// LogValue prints Mask in log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
