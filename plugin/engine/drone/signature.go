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
	"slipway/plugin/trail"
)

// maxRequest bounds a request's body, in bytes.
const maxRequest = 1 << 20

// signed is the one form of a signature that Drone writes. Its own library takes more: another
// order, a key twice, a list of headers that leaves the body out.
const signed = `^keyId="hmac-key",algorithm="hmac-sha256",signature="([A-Za-z0-9+/]{43}=)",headers="([a-z -]+)"$`

// requestKey is where a request's context has what the guard knows of it.
type requestKey struct{}

// A request is one whose headers may be believed if they are signed.
type request struct {
	signature string
	refused   error // by our answer, its signature good
}

// guard stands before drone-go's handlers, which check the signature of the headers and
// nothing else: not that the digest is the body's, how old the date is, or which headers were
// signed. It bounds the body, too.
// https://datatracker.ietf.org/doc/html/draft-cavage-http-signatures
func (e *Engine) guard(kind string, h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			e.refuse(r.Context(), w, kind, http.StatusRequestEntityTooLarge, fmt.Errorf("read the request: %w", err))
			return
		}
		signature, err := check(r.Header, body, e.o.Now())
		if err != nil {
			e.refuse(r.Context(), w, kind, http.StatusUnauthorized, err)
			return
		}
		known := &request{signature: signature}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, known))
		r.Body = io.NopCloser(bytes.NewReader(body))
		answered := &watched{ResponseWriter: w}
		h.ServeHTTP(answered, r)
		switch {
		case answered.status == http.StatusBadRequest:
			e.refused(r.Context(), kind, fmt.Errorf("%s: is this extension's secret the one that `slipway engines` prints?", answered.text))
		case known.refused != nil:
			e.refused(r.Context(), kind, known.refused)
		default:
			e.seen.Accepted(kind)
		}
	}
}

// refuse answers a request that is not taken, with the reason for whoever reads Drone's log.
func (e *Engine) refuse(ctx context.Context, w http.ResponseWriter, kind string, status int, err error) {
	e.refused(ctx, kind, err)
	http.Error(w, err.Error(), status)
}

func (e *Engine) refused(ctx context.Context, kind string, err error) {
	if e.seen.Refused(kind, err) {
		trail.Log(ctx, e.o.Log).WithError(err).WithField("extension", kind).Warn("request of Drone refused; further ones are logged once a minute")
	}
}

// check returns the signature of a request whose headers may be believed if they are signed.
func check(h http.Header, body []byte, now time.Time) (string, error) {
	line, err := one(h, "Signature")
	if err != nil {
		return "", err
	}
	parts := regexp.MustCompile(signed).FindStringSubmatch(line)
	if parts == nil {
		return "", errors.New("header Signature is not of Drone's form")
	}
	names := strings.Fields(parts[2])
	for _, name := range []string{"date", "digest"} {
		if !slices.Contains(names, name) {
			return "", fmt.Errorf("the signature does not cover %s", name)
		}
	}
	date, err := one(h, "Date")
	if err != nil {
		return "", err
	}
	at, err := http.ParseTime(date)
	if err != nil {
		return "", errors.New("header Date is no date")
	}
	if err := pipeline.CheckAge(at, now); err != nil {
		return "", err
	}
	digest, err := one(h, "Digest")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	if digest != "SHA-256="+base64.StdEncoding.EncodeToString(sum[:]) {
		return "", errors.New("header Digest is not the body's")
	}
	return parts[1], nil
}

// one returns a header that must stand there exactly once.
func one(h http.Header, name string) (string, error) {
	all := h.Values(name)
	if len(all) != 1 {
		return "", fmt.Errorf("header %s is there %d times, not once", name, len(all))
	}
	return all[0], nil
}

// watched remembers the status of an answer, and what a refusal says.
type watched struct {
	http.ResponseWriter
	status int
	text   string
}

// WriteHeader notes the status.
func (w *watched) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write notes drone-go's word for what it refuses.
func (w *watched) Write(p []byte) (int, error) {
	if w.status == http.StatusBadRequest {
		w.text = strings.ToLower(strings.TrimSpace(string(p)))
	}
	return w.ResponseWriter.Write(p)
}
