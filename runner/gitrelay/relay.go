package gitrelay

import (
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"slipway/runner/attemptserver"
)

// requestHeaders are the headers of a client that the gateway gets. A client's Authorization is
// not among them.
var requestHeaders = []string{
	"Accept",
	"Accept-Encoding",
	"Accept-Language",
	"Content-Encoding",
	"Content-Type",
	"Git-Protocol",
	"Range",
	"User-Agent",
}

// responseHeaders are the headers of the gateway that a client gets.
var responseHeaders = []string{
	"Accept-Ranges",
	"Cache-Control",
	"Content-Encoding",
	"Content-Length",
	"Content-Range",
	"Content-Type",
	"Expires",
	"Pragma",
	"Retry-After",
}

// rewrite addresses a request to the gateway. ReverseProxy's Rewrite, unlike its Director, keeps
// the relay's credential if the client names it in a Connection header.
func (l *Relay) rewrite(p *httputil.ProxyRequest) {
	rest, _ := l.target(p.In)
	path, query, _ := strings.Cut(rest, "?")
	p.Out.URL = &url.URL{
		Scheme:   l.o.Gateway.Scheme,
		Host:     l.o.Gateway.Host,
		Path:     l.o.Gateway.Path + path,
		RawQuery: query,
	}
	p.Out.Host = l.o.Gateway.Host
	p.Out.Header = attemptserver.Pick(p.In.Header, requestHeaders)
	p.Out.Trailer = nil // trailers are headers, too
	p.Out.Header.Set("Authorization", "Bearer "+l.o.Token.Reveal())
	if strings.HasSuffix(path, batchPath) {
		p.Out.Header.Del("Accept-Encoding") // the response is rewritten
	}
}

// errRefused means that the gateway does not accept the attempt's token.
var errRefused = errors.New("the gateway refuses the attempt's token")

// errRedirect means that the gateway's address redirects to another server.
var errRedirect = errors.New("the gateway redirects: check its address")

// checkResponse limits the gateway's response: no 401, which makes git ask for a password,
// no redirect, and LFS addresses under the provider's name.
func (l *Relay) checkResponse(resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return errRefused
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return errRedirect
	}
	resp.Header = attemptserver.Pick(resp.Header, responseHeaders)
	if resp.StatusCode == http.StatusOK && strings.HasSuffix(resp.Request.URL.Path, batchPath) {
		return l.rewriteBatch(resp)
	}
	return nil
}

// fail writes the response to a request that the gateway did not serve.
func (l *Relay) fail(w http.ResponseWriter, r *http.Request, err error) {
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		http.Error(w, "the request is larger than 32 MiB", http.StatusRequestEntityTooLarge)
		return
	}
	if l.attempt.Err() != nil {
		refuseEnded(w, r)
		return
	}
	l.o.Log.WithError(err).Warnf("git relay: %s of %s", r.Method, l.o.Path)
	text := "the gateway does not answer"
	if errors.Is(err, errRefused) || errors.Is(err, errRedirect) || errors.Is(err, errBatch) {
		text = err.Error()
	}
	http.Error(w, text, http.StatusBadGateway)
}
