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
	// label is what Woodpecker calls its signature.
	label = "woodpecker-ci-extensions"
	// keyAgain is how often the key is fetched again at most when signatures do not fit it;
	// keyFirst the same while there is none.
	keyAgain = 10 * time.Second
	keyFirst = 200 * time.Millisecond // less than Woodpecker's pause before it asks again
	// maxHeader bounds a signature's header, in bytes; Woodpecker's are half as long.
	maxHeader = 512
)

// errNoKey says nothing of a signature: there is nothing to check it with.
var errNoKey = errors.New("the server's public key is not to be had")

// A verifier checks the signatures of a server's requests to its extensions: RFC 9421 with
// ed25519, in the one form that Woodpecker writes. Whatever else the RFC allows is refused,
// which is what makes it shorter than the use of a library. It is safe for concurrent use.
// https://www.rfc-editor.org/rfc/rfc9421, https://woodpecker-ci.org/docs/usage/extensions
type verifier struct {
	client *client
	now    func() time.Time

	fetching sync.Mutex // held while the key is asked for
	mu       sync.Mutex
	key      ed25519.PublicKey
	asked    time.Time
}

// verify returns the signature of a request, which is good. Its error says what is wrong.
func (v *verifier) verify(r *http.Request, body []byte) (string, error) {
	digest, err := one(r.Header, "Content-Digest")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	if digest != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		return "", errors.New("header Content-Digest is not the body's")
	}
	params, created, err := input(r.Header)
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
	base := fmt.Sprintf("\"@request-target\": %s\n\"content-digest\": %s\n\"@signature-params\": %s", r.RequestURI, digest, params)
	if err := v.check(r.Context(), []byte(base), signature); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}

// check fits a signature to the server's key, which is fetched when there is none, and again
// when it does not fit: the server may have a new one.
func (v *verifier) check(ctx context.Context, base, signature []byte) error {
	if key := v.known(); key != nil && ed25519.Verify(key, base, signature) {
		return nil
	}
	key, err := v.fetch(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoKey, err)
	}
	if !ed25519.Verify(key, base, signature) {
		return errors.New("the signature is not the server's")
	}
	return nil
}

func (v *verifier) known() ed25519.PublicKey {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key
}

// fetch asks the server for its key, unless that was done a moment ago: then it is the one
// that is known. Who sends what does not fit costs the server no more than that.
func (v *verifier) fetch(ctx context.Context) (ed25519.PublicKey, error) {
	v.fetching.Lock()
	defer v.fetching.Unlock()
	v.mu.Lock()
	key, pause, now := v.key, keyAgain, v.now()
	if key == nil {
		pause = keyFirst
	}
	early := now.Sub(v.asked) < pause
	if !early {
		v.asked = now
	}
	v.mu.Unlock()
	switch {
	case early && key != nil:
		return key, nil
	case early:
		return nil, errors.New("nor was it a moment ago")
	}
	key, err := v.client.publicKey(context.WithoutCancel(ctx)) // for all, whoever asks
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key = key
	return key, nil
}

// publicKey asks the configured server, and nobody that a request names.
func (c *client) publicKey(ctx context.Context) (ed25519.PublicKey, error) {
	a, err := c.call(ctx, answerTime, http.MethodGet, "/api/signature/public-key", nil)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(a.body)
	if a.status != http.StatusOK || block == nil {
		return nil, fmt.Errorf("the Woodpecker server answered %d, and no PEM", a.status)
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

// input takes Signature-Input apart: it must cover the target and the digest, in this order,
// and nothing that is not checked.
func input(h http.Header) (params string, created time.Time, err error) {
	value, err := one(h, "Signature-Input")
	if err != nil {
		return "", time.Time{}, err
	}
	params, found := strings.CutPrefix(value, label+"=")
	rest, covers := strings.CutPrefix(params, `("@request-target" "content-digest");created=`)
	digits, alg := strings.CutSuffix(rest, `;alg="ed25519"`)
	seconds, parseErr := strconv.ParseInt(digits, 10, 64)
	if !found || !covers || !alg || parseErr != nil {
		return "", time.Time{}, errors.New(`header Signature-Input is not of Woodpecker's form: ` + label + `=("@request-target" "content-digest");created=…;alg="ed25519"`)
	}
	return params, time.Unix(seconds, 0), nil
}

func signatureOf(h http.Header) ([]byte, error) {
	value, err := one(h, "Signature")
	if err != nil {
		return nil, err
	}
	encoded, begins := strings.CutPrefix(value, label+"=:")
	encoded, ends := strings.CutSuffix(encoded, ":")
	signature, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !begins || !ends || err != nil || len(signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("header Signature is not of Woodpecker's form: %s=:…: with 64 bytes in base64", label)
	}
	return signature, nil
}

// one returns a header that must stand there exactly once.
func one(h http.Header, name string) (string, error) {
	switch all := h.Values(name); {
	case len(all) == 0:
		return "", fmt.Errorf("header %s is missing", name)
	case len(all) > 1 || len(all[0]) > maxHeader:
		return "", fmt.Errorf("header %s is there %d times, or too long", name, len(all))
	default:
		return all[0], nil
	}
}
