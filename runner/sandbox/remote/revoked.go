package remote

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"slipway/config/identity"
)

// maxRevoked is the largest accepted file of revoked certificates, in bytes: about 15,000 lines.
const maxRevoked = 1 << 20

var errRevoked = errors.New("the client's certificate is revoked")

// refuseRevoked makes the server reject clients whose fingerprint is in the file. It reads the file at
// each handshake, so a new line takes effect without a restart. Open connections stay open. If the
// file cannot be read, the server rejects every client.
func refuseRevoked(config *tls.Config, path string) {
	config.VerifyConnection = func(state tls.ConnectionState) error { // also called for a resumed session
		revoked, err := readRevoked(path)
		if err != nil {
			return err
		}
		if len(state.PeerCertificates) == 0 || revoked[identity.Fingerprint(state.PeerCertificates[0])] {
			return errRevoked
		}
		return nil
	}
}

// readRevoked reads a file of SHA-256 fingerprints, one a line. A fingerprint has hex digits, with or
// without colons. `slipway builder keys` and `openssl x509 -fingerprint -sha256` print this form. Empty
// lines and lines that begin with # are ignored.
func readRevoked(path string) (map[string]bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read revoked certificates: %w: check --revoked", err)
	}
	defer func() { _ = file.Close() }() // the file is only read, so no data is lost
	text, err := io.ReadAll(io.LimitReader(file, maxRevoked+1))
	if err != nil {
		return nil, fmt.Errorf("read revoked certificates: %w: check --revoked", err)
	}
	if len(text) > maxRevoked {
		return nil, fmt.Errorf("read revoked certificates: %s has more than %d bytes: create a new authority instead",
			path, maxRevoked)
	}
	revoked := map[string]bool{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, digits, found := strings.Cut(line, "="); found { // openssl writes "sha256 Fingerprint=AB:CD…"
			line = digits
		}
		fingerprint := strings.ToLower(strings.ReplaceAll(line, ":", ""))
		if sum, err := hex.DecodeString(fingerprint); err != nil || len(sum) != identity.FingerprintBytes {
			return nil, fmt.Errorf(
				"read revoked certificates: %s: line %d is not a SHA-256 fingerprint: write 64 hex digits",
				path,
				number,
			)
		}
		revoked[fingerprint] = true
	}
	return revoked, nil
}
