package server

import (
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
)

// An insecureTransport sends requests to registries that the operator marked insecure: over HTTPS without a
// check of the certificate, and over plain HTTP if the registry has no HTTPS. dockerd does this for
// --insecure-registry, and BuildKit for a push. It is safe for concurrent use.
// https://docs.docker.com/reference/cli/dockerd/#insecure-registries
type insecureTransport struct {
	base http.RoundTripper // checks no certificate

	mu    sync.Mutex
	plain map[string]bool // whether a host that has answered uses plain HTTP
}

var _ http.RoundTripper = (*insecureTransport)(nil)

func newInsecureTransport(base http.RoundTripper) *insecureTransport {
	return &insecureTransport{base: base, plain: map[string]bool{}}
}

// RoundTrip implements http.RoundTripper. A host that has answered over HTTPS never gets plain HTTP, so that
// a broken connection sends no password in clear text.
func (t *insecureTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return t.base.RoundTrip(r)
	}
	t.mu.Lock()
	plain, known := t.plain[r.URL.Host]
	t.mu.Unlock()
	if known && !plain {
		return t.base.RoundTrip(r)
	}
	if !known {
		response, err := t.base.RoundTrip(r)
		if err == nil || r.Context().Err() != nil {
			return t.remember(r.URL.Host, false, response, err)
		}
		again, rewindErr := plainRequest(r)
		if rewindErr != nil {
			return nil, err
		}
		response, plainErr := t.base.RoundTrip(again)
		var noTLS tls.RecordHeaderError
		if plainErr != nil && !errors.As(err, &noTLS) {
			return nil, err
		}
		return t.remember(r.URL.Host, true, response, plainErr)
	}
	again := r.Clone(r.Context())
	again.URL.Scheme = "http"
	return t.base.RoundTrip(again)
}

// remember keeps the scheme of a host that has answered.
func (t *insecureTransport) remember(
	host string,
	plain bool,
	response *http.Response,
	err error,
) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.plain[host] = plain
	return response, nil
}

// errBodySent reports a request whose body cannot be sent again.
var errBodySent = errors.New("the body of the request cannot be sent again")

// plainRequest returns a request again, over plain HTTP.
func plainRequest(r *http.Request) (*http.Request, error) {
	again := r.Clone(r.Context())
	again.URL.Scheme = "http"
	if r.Body == nil || r.Body == http.NoBody {
		return again, nil
	}
	if r.GetBody == nil {
		return nil, errBodySent
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	again.Body = body
	return again, nil
}
