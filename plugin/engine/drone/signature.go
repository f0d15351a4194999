package drone

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"slipway/plugin/engine/pipeline"
	"slipway/plugin/logctx"
)

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 1 << 20

// signaturePattern matches the only form of a signature header that Drone sends. Drone's own
// library also accepts another order of keys, duplicate keys, and header lists without the digest.
const signaturePattern = `^keyId="hmac-key",algorithm="hmac-sha256",` +
	`signature="([A-Za-z0-9+/]{43}=)",headers="([a-z -]+)"$`

// requestKey is the context key of the *request that guard passes to the handlers.
type requestKey struct{}

// A request is the state of one request between guard and the handlers.
type request struct {
	signature string
	refused   error // the handler's error for a request with a valid signature
}

// guard checks requests before drone-go's handlers do. Those verify only the signature of the
// headers: not the digest of the body, the age of the date, or which headers are signed. guard also
// limits the size of the body.
// https://datatracker.ietf.org/doc/html/draft-cavage-http-signatures
func (e *Engine) guard(kind string, h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			e.refuse(r.Context(), w, kind, http.StatusRequestEntityTooLarge, fmt.Errorf("read the request: %w", err))
			return
		}
		signature, err := verifyHeaders(r.Header, body, e.o.Now())
		if err != nil {
			e.refuse(r.Context(), w, kind, http.StatusUnauthorized, err)
			return
		}
		state := &request{signature: signature}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, state))
		r.Body = io.NopCloser(bytes.NewReader(body))
		recorded := &recordedResponse{ResponseWriter: w}
		h.ServeHTTP(recorded, r)
		switch {
		case recorded.status == http.StatusBadRequest:
			e.logRefusal(
				r.Context(), kind,
				fmt.Errorf("%s: is this extension's secret the one that `slipway engines` prints?", recorded.text),
			)
		case state.refused != nil:
			e.logRefusal(r.Context(), kind, state.refused)
		default:
			e.requestLog.Accepted(kind)
		}
	}
}

// refuse rejects a request. The response contains the reason for the readers of Drone's log.
func (e *Engine) refuse(ctx context.Context, w http.ResponseWriter, kind string, status int, err error) {
	e.logRefusal(ctx, kind, err)
	http.Error(w, err.Error(), status)
}

func (e *Engine) logRefusal(ctx context.Context, kind string, err error) {
	if e.requestLog.Refused(kind, err) {
		logctx.Log(ctx, e.o.Log).WithError(err).WithField("extension", kind).
			Warn("request of Drone refused; further ones are logged once a minute")
	}
}

// verifyHeaders checks the form of a signature, the age and the digest, and returns the signature.
// drone-go's handler verifies the signature afterwards.
func verifyHeaders(h http.Header, body []byte, now time.Time) (string, error) {
	line, err := singleHeader(h, "Signature")
	if err != nil {
		return "", err
	}
	parts := regexp.MustCompile(signaturePattern).FindStringSubmatch(line)
	if parts == nil {
		return "", errors.New("header Signature does not have Drone's form")
	}
	names := strings.Fields(parts[2])
	for _, name := range []string{"date", "digest"} {
		if !slices.Contains(names, name) {
			return "", fmt.Errorf("the signature does not cover %s", name)
		}
	}
	date, err := singleHeader(h, "Date")
	if err != nil {
		return "", err
	}
	at, err := http.ParseTime(date)
	if err != nil {
		return "", errors.New("header Date is not a date")
	}
	if err := pipeline.CheckAge(at, now); err != nil {
		return "", err
	}
	digest, err := singleHeader(h, "Digest")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	if digest != "SHA-256="+base64.StdEncoding.EncodeToString(sum[:]) {
		return "", errors.New(
			"header Digest does not match the body: a proxy in front of the gateway must not change it",
		)
	}
	return parts[1], nil
}

// singleHeader returns the value of a header that must occur exactly once.
func singleHeader(h http.Header, name string) (string, error) {
	all := h.Values(name)
	if len(all) != 1 {
		return "", fmt.Errorf("got %[2]d headers %[1]s, want one", name, len(all))
	}
	return all[0], nil
}

// A recordedResponse records the status of a response and the text of a refusal.
type recordedResponse struct {
	http.ResponseWriter
	status int
	text   string
}

// WriteHeader records the status.
func (w *recordedResponse) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write records drone-go's message for a rejected request.
func (w *recordedResponse) Write(p []byte) (int, error) {
	if w.status == http.StatusBadRequest {
		w.text = strings.ToLower(strings.TrimSpace(string(p)))
	}
	return w.ResponseWriter.Write(p)
}
