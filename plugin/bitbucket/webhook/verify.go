package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"slipway/config/secret"
)

// SignatureHeader is the header with the signature of Cloud and Data Center.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
const SignatureHeader = "X-Hub-Signature"

const signaturePrefix = "sha256="

// ErrSignature is returned if the signature does not prove that the sender knows the secret.
var ErrSignature = errors.New("the signature is not valid")

// Verify checks that header has exactly one signature, and that it is the HMAC-SHA256 of the raw
// body with one of the secrets. It ignores empty secrets, and rejects every delivery if no other
// secret is given. The error is ErrSignature.
func Verify(body []byte, header http.Header, secrets ...secret.Secret) error {
	values := header.Values(SignatureHeader)
	if len(values) != 1 {
		return fmt.Errorf("%w: %d %s headers in place of one", ErrSignature, len(values), SignatureHeader)
	}
	digits, ok := strings.CutPrefix(values[0], signaturePrefix)
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return fmt.Errorf("%w: %s is not sha256= and 64 hex digits", ErrSignature, SignatureHeader)
	}
	given, err := hex.DecodeString(digits)
	if err != nil || strings.ToLower(digits) != digits { // Bitbucket writes lower case, and only one form is accepted
		return fmt.Errorf("%w: %s is not sha256= and 64 hex digits", ErrSignature, SignatureHeader)
	}
	for _, s := range secrets {
		if !s.IsZero() && hmac.Equal(given, sum(body, s)) {
			return nil
		}
	}
	return fmt.Errorf("%w: it is not the HMAC-SHA256 of the body with the webhook's secret", ErrSignature)
}

// Sign returns the header value that Verify accepts.
func Sign(body []byte, s secret.Secret) string {
	return signaturePrefix + hex.EncodeToString(sum(body, s))
}

func sum(body []byte, s secret.Secret) []byte {
	mac := hmac.New(sha256.New, []byte(s.Reveal()))
	mac.Write(body)
	return mac.Sum(nil)
}
