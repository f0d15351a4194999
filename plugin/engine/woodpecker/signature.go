package woodpecker

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipway/plugin/engine/pipeline"
)

const (
	// label is the name of Woodpecker's signature.
	label = "woodpecker-ci-extensions"
	// keyInterval is the minimum time between two requests for the key if a signature does not
	// match it. keyRetry is the same if the gateway has no key yet.
	keyInterval = 10 * time.Second
	keyRetry    = 200 * time.Millisecond // shorter than Woodpecker's pause before a retry
	// maxHeader bounds the header of a signature, in bytes. Woodpecker's is half as long.
	maxHeader = 512
)

// errNoKey means that a signature could not be checked, because the gateway has no key.
var errNoKey = errors.New("the server's public key is not available")

// errSignature means that the server's key did not sign this request. The signature covers the path, so a
// proxy in front of the gateway may be the cause.
var errSignature = errors.New("the signature does not match the server's key")

// A verifier checks the signatures of a server's requests to its extensions. It implements RFC 9421
// with ed25519 in the only form that Woodpecker sends, and refuses all other forms of the RFC. This
// takes less code than a library. It is safe for concurrent use.
// https://www.rfc-editor.org/rfc/rfc9421
// https://woodpecker-ci.org/docs/usage/extensions
type verifier struct {
	client *client
	now    func() time.Time

	fetching  sync.Mutex // held while the key is requested
	mu        sync.Mutex
	key       ed25519.PublicKey
	requested time.Time
}

// verify checks the signature of a request and returns it.
func (v *verifier) verify(r *http.Request, body []byte) (string, error) {
	digest, err := singleHeader(r.Header, "Content-Digest")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	if digest != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		return "", errors.New(
			"header Content-Digest does not match the body: a proxy in front of the gateway must not change it",
		)
	}
	params, created, err := parseInput(r.Header)
	if err != nil {
		return "", err
	}
	if err := pipeline.CheckAge(created, v.now()); err != nil {
		return "", err
	}
	signature, err := signatureOf(r.Header)
	if err != nil {
		return "", err
	}
	base := fmt.Sprintf(
		"\"@request-target\": %s\n\"content-digest\": %s\n\"@signature-params\": %s",
		r.RequestURI, digest, params,
	)
	err = v.check(r.Context(), []byte(base), signature)
	if errors.Is(err, errSignature) {
		return "", fmt.Errorf(
			"%w and the path %.100q: if a proxy is in front of the gateway, it must pass path and query on unchanged",
			err, r.RequestURI,
		)
	}
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}

// check verifies a signature with the server's key. It fetches the key if there is none. If the
// signature does not match it fetches the key again, because the server may have a new one.
func (v *verifier) check(ctx context.Context, base, signature []byte) error {
	if key := v.currentKey(); key != nil && ed25519.Verify(key, base, signature) {
		return nil
	}
	key, err := v.fetch(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoKey, err)
	}
	if !ed25519.Verify(key, base, signature) {
		return errSignature
	}
	return nil
}

func (v *verifier) currentKey() ed25519.PublicKey {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key
}

// fetch requests the server's key. It returns the current key if the last request was a moment ago.
// So invalid signatures cannot cause more requests to the server.
func (v *verifier) fetch(ctx context.Context) (ed25519.PublicKey, error) {
	v.fetching.Lock()
	defer v.fetching.Unlock()
	v.mu.Lock()
	key, pause, now := v.key, keyInterval, v.now()
	if key == nil {
		pause = keyRetry
	}
	early := now.Sub(v.requested) < pause
	if !early {
		v.requested = now
	}
	v.mu.Unlock()
	switch {
	case early && key != nil:
		return key, nil
	case early:
		return nil, errors.New("the last request failed a moment ago")
	}
	key, err := v.client.publicKey(
		context.WithoutCancel(ctx),
	) // other requests wait for the same key, so the end of this one must not cancel it
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key = key
	return key, nil
}

// publicKey requests the key from the configured server. It uses no address from a request.
func (c *client) publicKey(ctx context.Context) (ed25519.PublicKey, error) {
	a, err := c.call(ctx, callTimeout, http.MethodGet, "/api/signature/public-key", nil)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(a.body)
	if a.status != http.StatusOK || block == nil {
		return nil, fmt.Errorf("the Woodpecker server returned %d and no PEM", a.status)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the public key is a %T, not ed25519", parsed)
	}
	return key, nil
}

// parseInput parses the header Signature-Input. The signature must cover exactly the target and the
// digest, in this order. created is the time of the signature.
func parseInput(h http.Header) (params string, created time.Time, err error) {
	value, err := singleHeader(h, "Signature-Input")
	if err != nil {
		return "", time.Time{}, err
	}
	params, found := strings.CutPrefix(value, label+"=")
	rest, covers := strings.CutPrefix(params, `("@request-target" "content-digest");created=`)
	digits, alg := strings.CutSuffix(rest, `;alg="ed25519"`)
	seconds, parseErr := strconv.ParseInt(digits, 10, 64)
	if !found || !covers || !alg || parseErr != nil {
		return "", time.Time{}, errors.New(
			`header Signature-Input does not have Woodpecker's form: ` + label +
				`=("@request-target" "content-digest");created=…;alg="ed25519"`,
		)
	}
	return params, time.Unix(seconds, 0), nil
}

func signatureOf(h http.Header) ([]byte, error) {
	value, err := singleHeader(h, "Signature")
	if err != nil {
		return nil, err
	}
	encoded, begins := strings.CutPrefix(value, label+"=:")
	encoded, ends := strings.CutSuffix(encoded, ":")
	signature, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !begins || !ends || err != nil || len(signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf(
			"header Signature does not have Woodpecker's form: %s=:…: with 64 bytes in base64",
			label,
		)
	}
	return signature, nil
}

// singleHeader returns the value of a header that must occur exactly once.
func singleHeader(h http.Header, name string) (string, error) {
	switch all := h.Values(name); {
	case len(all) == 0:
		return "", fmt.Errorf("header %s is missing", name)
	case len(all) > 1 || len(all[0]) > maxHeader:
		return "", fmt.Errorf("got %[2]d headers %[1]s, or a value that is too long", name, len(all))
	default:
		return all[0], nil
	}
}
