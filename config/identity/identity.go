// Package identity holds the certificates of the two sides of a connection to a builder, which
// authenticate each other (mutual TLS). A client of a builder can build on it and read its cache, and
// registry passwords cross the connection. So only connections inside one machine work without
// certificates.
package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"slipway/config/secret"
)

// maxFile is the largest file that Read accepts, in bytes.
const maxFile = 64 << 10

// An Identity is the TLS identity of a client or a server. It holds its certificate, the certificate's
// key, and the authorities that it trusts for the certificate of the other side. The zero Identity has no
// certificate. An Identity is immutable and safe for concurrent use.
type Identity struct {
	text    secret.Secret
	own     tls.Certificate
	trusted *x509.CertPool
}

// Parse parses PEM in the form of `cat cert.pem ca.pem key.pem`. The first certificate is the identity's
// own, and the others are the authorities. `slipway builder keys` writes such files. For an empty text it
// returns the zero Identity. The error contains no part of the text.
func Parse(text secret.Secret) (Identity, error) {
	if text.IsZero() {
		return Identity{}, nil
	}
	all := []byte(text.Reveal())
	own, err := tls.X509KeyPair(all, all)
	if err != nil {
		return Identity{}, fmt.Errorf(
			"it is not a certificate with its authority and its key in PEM (cat cert.pem ca.pem key.pem): %w",
			err,
		)
	}
	if len(own.Certificate) < 2 {
		return Identity{}, errors.New(
			"it has only one certificate: add the certificate of the authority after it (cat cert.pem ca.pem key.pem)",
		)
	}
	id := Identity{text: text, own: own, trusted: x509.NewCertPool()}
	for _, der := range own.Certificate[1:] {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return Identity{}, fmt.Errorf("a certificate of an authority: %w", err)
		}
		id.trusted.AddCert(authority)
	}
	return id, nil
}

// Read parses the value of a setting: the PEM itself, or the absolute path of a PEM file of at most 64
// KiB.
func Read(value secret.Secret) (Identity, error) {
	path := value.Reveal()
	if !strings.HasPrefix(path, "/") {
		return Parse(value)
	}
	file, err := os.Open(path)
	if err != nil {
		return Identity{}, err
	}
	defer func() { _ = file.Close() }() // the file is only read, so no data is lost
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return Identity{}, fmt.Errorf("read %s: %w", path, err)
	case len(text) == 0 || len(text) > maxFile:
		return Identity{}, fmt.Errorf("%s has %d bytes or more: it is not a certificate", path, len(text))
	}
	id, err := Parse(secret.New(string(text)))
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %w", path, err)
	}
	return id, nil
}

// IsZero reports whether the identity has no certificate.
func (i Identity) IsZero() bool { return i.text.IsZero() }

// Equal reports whether both identities have the same PEM text.
func (i Identity) Equal(other Identity) bool { return i.text.Equal(other.text) }

// Format prints stars instead of the PEM text, as secret.Secret does. It implements fmt.Formatter.
func (i Identity) Format(f fmt.State, verb rune) { i.text.Format(f, verb) }

// Text returns the PEM text. Parse accepts it.
func (i Identity) Text() secret.Secret { return i.text }

// Expires returns the end of the certificate's validity. After it the other side rejects the
// certificate. The identity must not be zero.
func (i Identity) Expires() time.Time { return i.own.Leaf.NotAfter }

// FingerprintBytes is the length of a fingerprint in bytes. Fingerprint writes two hex digits a byte.
const FingerprintBytes = sha256.Size

// Fingerprint returns the SHA-256 sum of a certificate in lower-case hex digits.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Fingerprint returns the fingerprint of the identity's own certificate. The identity must not be
// zero.
func (i Identity) Fingerprint() string { return Fingerprint(i.own.Leaf) }

// Server returns the TLS configuration of a server. The server accepts only clients whose certificate
// is signed by one of the identity's authorities.
func (i Identity) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.own},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.trusted,
	}
}

// Client returns the TLS configuration of a client. It has no ServerName, so the certificate of the
// server must be valid for the host that the client dials.
func (i Identity) Client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.own}, RootCAs: i.trusted,
	}
}
