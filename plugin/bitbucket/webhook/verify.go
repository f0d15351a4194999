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

// SignatureHeader is the header that Cloud and Data Center sign with.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
const SignatureHeader = "X-Hub-Signature"

const signaturePrefix = "sha256="

// ErrSignature says that the delivery is not proven to come from who knows the secret.
var ErrSignature = errors.New("the signature is not valid")

// Verify checks that header holds exactly one signature and that it is the HMAC-SHA256 of
// body, as received, under one of the secrets. Empty secrets prove nothing and are passed
// over; without any other the delivery is refused. The error is ErrSignature.
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
	if err != nil || strings.ToLower(digits) != digits { // Bitbucket writes small letters, and one spelling is enough
		return fmt.Errorf("%w: %s is not sha256= and 64 hex digits", ErrSignature, SignatureHeader)
	}
	for _, s := range secrets {
		if !s.IsZero() && hmac.Equal(given, sum(body, s)) {
			return nil
		}
	}
	return fmt.Errorf("%w: it is not the body's under the webhook's secret", ErrSignature)
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
