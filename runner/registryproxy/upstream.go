package registryproxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	userAgent = "slipway"

	maxUpstreamConns  = 32
	maxUpstreamHeader = 64 << 10 // bytes of a response's header
	bufferSize        = 64 << 10 // bytes
	headerTimeout     = 2 * time.Minute
	continueTimeout   = time.Second // wait for registries that do not support Expect
)

// An upstream sends requests to the registry with the installation's credential, and to its blob
// storage without. It is safe for concurrent use.
type upstream struct {
	base     *url.URL
	registry *http.Transport
	storage  *http.Transport
	auth     *authorizer
}

func newUpstream(o Options) *upstream {
	registry := newTransport(o)
	registry.TLSClientConfig = o.TLS.Clone()
	registry.MaxConnsPerHost = maxUpstreamConns
	// The token server may be any host: it gets no certificate that is for the registry.
	storage := newTransport(o)
	return &upstream{
		base:     o.Upstream,
		registry: registry,
		storage:  storage,
		auth:     newAuthorizer(o, byHost{o.Upstream.Host, registry, storage}),
	}
}

// newTransport returns a transport whose every connection goes through the policy. It uses HTTP/1.1:
// uploads over HTTP/2 take 1.1 to 1.3 times as long.
func newTransport(o Options) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            o.Policy.DialContext,
		DisableCompression:     true, // bodies are passed on as they are
		Protocols:              protocols,
		TLSHandshakeTimeout:    30 * time.Second,
		ResponseHeaderTimeout:  headerTimeout,
		ExpectContinueTimeout:  continueTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: maxUpstreamHeader,
		ReadBufferSize:         bufferSize,
		WriteBufferSize:        bufferSize,
	}
}

// byHost sends requests to one host by a transport of its own.
type byHost struct {
	host         string
	own, foreign http.RoundTripper
}

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == b.host {
		return b.own.RoundTrip(r)
	}
	return b.foreign.RoundTrip(r)
}

// close closes idle connections. Running requests end with their contexts.
func (u *upstream) close() {
	u.registry.CloseIdleConnections()
	u.storage.CloseIdleConnections()
}

// A call is one request to the registry.
type call struct {
	method string
	target string // the whole address
	header http.Header
	scopes []string // scopes that the token must have

	bytes  []byte    // the body, if it is held in memory
	stream io.Reader // the body, as the client sends it; nil = use bytes
	length int64     // length of the stream, in bytes; -1 = unknown
}

// send sends a call with the credential, and returns the registry's response. If the registry refuses
// the credential and nothing of the body was read, it renews the credential and sends the call
// again, once. A response of 401 or 403 becomes a problem; its body is not read.
func (u *upstream) send(ctx context.Context, c call) (*http.Response, error) {
	for first := true; ; first = false {
		header, err := u.auth.header(ctx, c.scopes)
		if err != nil {
			return nil, err
		}
		resp, untouched, err := u.try(ctx, c, header)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusForbidden:
			_ = resp.Body.Close()
			return nil, errRefusedLogin
		case http.StatusUnauthorized:
			_ = resp.Body.Close()
		default:
			return resp, nil
		}
		better, err := u.auth.forget(ctx, header, resp.Header.Values("WWW-Authenticate"))
		switch {
		case err != nil:
			return nil, err
		case !better || !first:
			return nil, errRefusedLogin
		case !untouched:
			return nil, errTokenEnded
		}
	}
}

// errTokenEnded is the response if a token ended before its time and the body cannot be sent again.
// Clients repeat the request after a 503.
var errTokenEnded = problem{http.StatusServiceUnavailable, "UNAVAILABLE",
	"the registry's token ended during the upload: try again"}

// try sends a call once. It reports whether the body can be sent again.
func (u *upstream) try(ctx context.Context, c call, authorization string) (*http.Response, bool, error) {
	var body io.Reader = bytes.NewReader(c.bytes)
	var streamed *gate
	if c.stream != nil && c.length != 0 {
		streamed = &gate{from: c.stream}
		body = streamed
	}
	request, err := http.NewRequestWithContext(ctx, c.method, c.target, body)
	if err != nil {
		return nil, false, err
	}
	request.Header = c.header.Clone()
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	if streamed != nil {
		request.ContentLength = c.length
		// The registry then refuses a token that has ended before the body is sent.
		request.Header.Set("Expect", "100-continue")
	}
	resp, err := u.registry.RoundTrip(request)
	if err != nil {
		return nil, false, fmt.Errorf("%s %s: %w", c.method, u.base.Host, err)
	}
	if resp.StatusCode != http.StatusUnauthorized || streamed == nil {
		return resp, true, nil
	}
	return resp, streamed.shut(), nil
}
