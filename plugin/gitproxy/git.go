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

// The headers that are passed on; all others stay here. Rewrite is used because a Director's
// result can lose our Authorization: a client may name it in its Connection header.
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
	answerHeaders = []string{"Content-Type", "Content-Encoding", "Cache-Control", "Expires", "Pragma"}
)

func pick(from http.Header, names []string) http.Header {
	to := http.Header{}
	for _, name := range names {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
	return to
}

// forward streams one of git's two requests and its answer.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, u *upstream, call kind) error {
	started := time.Now()
	defer func() {
		logctx.Log(r.Context(), p.o.Log).WithField("call", string(call)).WithField("cause", context.Cause(r.Context())).
			Debugf("git request ended after %s", time.Since(started).Round(time.Millisecond))
	}()
	var refusal error
	proxy := httputil.ReverseProxy{
		FlushInterval: -1, BufferPool: &p.buffers, ErrorLog: p.quiet, // what it would log is in the line above
		Transport: roundTripper(func(out *http.Request) (*http.Response, error) {
			if call == discovery {
				return u.discover(out)
			}
			return u.ask(out, call)
		}),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = &url.URL{}, "" // upstream.send sets them
			pr.Out.Header, pr.Out.Trailer = pick(pr.In.Header, requestHeaders), nil
		},
		ModifyResponse: func(resp *http.Response) error {
			if err := judge(resp, call); err != nil {
				return err
			}
			resp.Header, resp.Trailer = pick(resp.Header, answerHeaders), nil
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { refusal = err },
	}
	proxy.ServeHTTP(w, r)
	return p.explain(r.Context(), refusal)
}

// explain returns the refusal for an error. The end of the request's context, which may have caused
// the error, comes first.
func (p *Proxy) explain(ctx context.Context, err error) error {
	var known *Refusal
	var large *http.MaxBytesError
	ended := context.Cause(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(ended, errEnded):
		return refuse(http.StatusForbidden, errEnded.Error(), err)
	case errors.Is(ended, errClosed):
		return busy(errClosed.Error(), retryAfter, err)
	case errors.Is(ended, context.Canceled): // no fault of the gateway's or Bitbucket's
		return refuse(http.StatusRequestTimeout, "the client left", err)
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, "the request is larger than 32 MiB", err)
	case errors.As(err, &known):
		return known
	}
	return busy(unavailable, retryAfter, err)
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// judge returns nil for an answer of git's smart protocol, and a *Refusal for any other.
func judge(resp *http.Response, call kind) error {
	want := map[kind]string{
		discovery: "application/x-git-upload-pack-advertisement", uploadPack: "application/x-git-upload-pack-result",
	}[call]
	if resp.StatusCode != http.StatusOK {
		return statusRefusal(resp, call)
	}
	if got := resp.Header.Get("Content-Type"); got != want {
		cause := errors.New("content type " + strconv.Quote(got))
		return refuse(http.StatusBadGateway, "Bitbucket does not answer in git's smart protocol", cause)
	}
	return nil
}

// statusRefusal maps the upstream's status. Its body is not read: it is not for the runner.
func statusRefusal(resp *http.Response, call kind) *Refusal {
	cause := errors.New("upstream status " + strconv.Itoa(resp.StatusCode))
	switch code := resp.StatusCode; {
	case refused(code) && call == discovery:
		return refuse(http.StatusBadGateway, relink, cause)
	case refused(code): // the next fetch begins with discovery, which renews the token or says why not
		return busy("Bitbucket refused the linked account's token in the middle of a fetch", retryAfter, cause)
	case code >= 300 && code < 400:
		return refuse(http.StatusNotFound, "the repository was renamed or moved, and its new name is not known", cause)
	case code == http.StatusForbidden, code == http.StatusNotFound:
		return refuse(http.StatusNotFound, missing, cause)
	case code == http.StatusTooManyRequests:
		return busy("Bitbucket limits the rate of requests", retryAfterOf(resp), cause)
	}
	return busy(unavailable, retryAfter, cause)
}

// retryAfterOf reads Retry-After in seconds, at most 10 minutes.
func retryAfterOf(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds <= 0 {
		return time.Minute
	}
	return min(time.Duration(seconds)*time.Second, 10*time.Minute)
}
