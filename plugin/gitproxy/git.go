package gitproxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"slipway/plugin/logctx"
)

// The headers that are forwarded. All others are removed.
var (
	requestHeaders = []string{
		"Accept",
		"Accept-Encoding",
		"Accept-Language",
		"Content-Type",
		"Content-Encoding",
		"Git-Protocol",
		"User-Agent",
	}
	forwardedHeaders = []string{"Content-Type", "Content-Encoding", "Cache-Control", "Expires", "Pragma"}
)

// pick returns the headers with these names.
func pick(from http.Header, names []string) http.Header {
	to := http.Header{}
	for _, name := range names {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
	return to
}

// forward streams one of git's two requests and its response.
//
// It sets ReverseProxy.Rewrite and not Director, because a client could remove the Authorization header of
// a Director by listing it in its Connection header.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, u *upstream, call kind) error {
	started := time.Now()
	defer func() {
		logctx.Log(r.Context(), p.o.Log).WithField("call", string(call)).WithField("cause", context.Cause(r.Context())).
			Debugf("git request ended after %s", time.Since(started).Round(time.Millisecond))
	}()
	var refusal error
	proxy := httputil.ReverseProxy{
		FlushInterval: -1, BufferPool: &p.buffers, ErrorLog: p.quiet, // the deferred line above has the cause
		Transport: roundTripper(func(out *http.Request) (*http.Response, error) {
			if call == discovery {
				return u.discover(out)
			}
			return u.sendOnce(out, call)
		}),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = &url.URL{}, "" // upstream.send sets them
			pr.Out.Header, pr.Out.Trailer = pick(pr.In.Header, requestHeaders), nil
		},
		ModifyResponse: func(resp *http.Response) error {
			if err := checkGitResponse(resp, call); err != nil {
				return err
			}
			resp.Header, resp.Trailer = pick(resp.Header, forwardedHeaders), nil
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { refusal = err },
	}
	proxy.ServeHTTP(w, r)
	return p.refusalFor(r.Context(), refusal)
}

// refusalFor returns the refusal for an error. It first checks whether the end of the request's context
// caused the error.
func (p *Proxy) refusalFor(ctx context.Context, err error) error {
	var known *Refusal
	var large *http.MaxBytesError
	ended := context.Cause(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(ended, errEnded):
		return refuse(http.StatusForbidden, errEnded.Error(), err)
	case errors.Is(ended, errClosed):
		return retryLater(errClosed.Error(), retryAfter, err)
	case errors.Is(ended, context.Canceled): // neither the gateway nor Bitbucket failed
		return refuse(http.StatusRequestTimeout, "the client disconnected", err)
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, "the request is larger than 32 MiB", err)
	case errors.As(err, &known):
		return known
	}
	return retryLater(unavailable, retryAfter, err)
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// checkGitResponse returns nil for a response of git's smart protocol, and a *Refusal for others.
func checkGitResponse(resp *http.Response, call kind) error {
	want := map[kind]string{
		discovery: "application/x-git-upload-pack-advertisement", uploadPack: "application/x-git-upload-pack-result",
	}[call]
	if resp.StatusCode != http.StatusOK {
		return statusRefusal(resp, call)
	}
	if got := resp.Header.Get("Content-Type"); got != want {
		cause := errors.New("content type " + strconv.Quote(got))
		return refuse(http.StatusBadGateway, "Bitbucket does not respond with git's smart protocol", cause)
	}
	return nil
}

// statusRefusal returns the refusal for an error status of the upstream. It does not use the body, which
// must not reach the runner.
func statusRefusal(resp *http.Response, call kind) *Refusal {
	cause := errors.New("upstream status " + strconv.Itoa(resp.StatusCode))
	switch code := resp.StatusCode; {
	case isRejected(code) && call == discovery:
		return refuse(http.StatusBadGateway, relink, cause)
	case isRejected(code): // the next fetch begins with discovery, which renews the token or returns the reason
		return retryLater("Bitbucket refused the linked account's token in the middle of a fetch", retryAfter, cause)
	case code >= 300 && code < 400:
		return refuse(http.StatusNotFound, "the repository was renamed or moved, and its new name is unknown", cause)
	case code == http.StatusForbidden, code == http.StatusNotFound:
		return refuse(http.StatusNotFound, missing, cause)
	case code == http.StatusTooManyRequests:
		return retryLater("Bitbucket limits the rate of requests", retryAfterOf(resp), cause)
	}
	return retryLater(unavailable, retryAfter, cause)
}

// retryAfterOf returns the Retry-After header, at most 10 minutes. The default is one minute.
func retryAfterOf(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds <= 0 {
		return time.Minute
	}
	return min(time.Duration(seconds)*time.Second, 10*time.Minute)
}
