// Package secret holds values that must never be printed.
//
// A Secret prints *** in fmt, JSON, YAML, text encodings and structured logs. Only Reveal returns
// the value. The package imports only the standard library, so every package may import it.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Mask replaces the value of a Secret wherever it is printed.
const Mask = "***"

// A Secret is a value that does not print. Compare secrets with Equal, not with ==. The zero Secret
// is empty. A Secret is immutable and safe for concurrent use.
type Secret struct {
	// A pointer, nil when empty: if fmt bypasses the methods, as for a wrong verb or a nested
	// pointer, it prints an address.
	value *string
}

// New wraps a value.
func New(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value. A review of the use of secrets starts at its callers.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// TrimLineBreaks returns the secret without line breaks at its end. A secret that was stored from a file often
// ends with one. Like `docker login --password-stdin`, use it for values that have one line.
func (s Secret) TrimLineBreaks() Secret {
	value := s.Reveal()
	if trimmed := strings.TrimRight(value, "\r\n"); trimmed != value {
		return New(trimmed)
	}
	return s
}

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
