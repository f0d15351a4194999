package registryproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"slipway/runner/attemptserver"
)

// maxRedirects bounds the redirects of a blob that are followed.
const maxRedirects = 3

// errStorage is the response if blob storage refuses the address that the registry gave.
var errStorage = unavailable("the registry's blob storage refuses the request")

// call describes a request for a route, with the client's headers.
func (p *Proxy) call(r *http.Request, to route, query url.Values) call {
	target := p.upstream.base.String() + to.path()
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return call{
		method: r.Method,
		target: target,
		header: attemptserver.Pick(r.Header, requestHeaders),
		scopes: []string{to.repository.scope()},
	}
}

// manifest reads or puts a manifest. A query is dropped, because ?tag= of newer registries names tags
// without a permit.
// Source: https://github.com/opencontainers/distribution-spec/pull/600
func (p *Proxy) manifest(w http.ResponseWriter, r *http.Request, to route) error {
	switch {
	case r.Method == http.MethodPut:
		return p.putManifest(w, r, to)
	case !reads(r):
		return methodNotAllowed(w, http.MethodGet, http.MethodHead, http.MethodPut)
	}
	resp, err := p.upstream.send(r.Context(), p.call(r, to, nil)) //nolint:bodyclose // writeResponse closes it
	if err != nil {
		return err
	}
	digest := ""
	if theForms().digest.MatchString(to.reference) {
		digest = to.reference
	}
	return p.writeResponse(w, r, resp, attemptserver.Pick(resp.Header, responseHeaders), digest)
}

// blob reads a blob, at the registry's blob storage if the registry redirects there.
func (p *Proxy) blob(w http.ResponseWriter, r *http.Request, to route) error {
	if !reads(r) {
		return methodNotAllowed(w, http.MethodGet, http.MethodHead)
	}
	resp, err := p.upstream.send(r.Context(), p.call(r, to, nil))
	if err != nil {
		return err
	}
	if isRedirect(resp) {
		resp, err = p.upstream.follow(r.Context(), r, resp) //nolint:bodyclose // writeResponse closes it
		if err != nil {
			return err
		}
	}
	header := attemptserver.Pick(resp.Header, responseHeaders)
	if resp.StatusCode < 300 {
		header.Set("Docker-Content-Digest", to.reference)
	}
	return p.writeResponse(w, r, resp, header, to.reference)
}

func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow reads a blob from the address that the registry redirects to. The requests carry the client's
// Range and nothing else: no credential, and no header that a signed address does not cover.
func (u *upstream) follow(ctx context.Context, r *http.Request, resp *http.Response) (*http.Response, error) {
	for range maxRedirects {
		next, err := u.redirectTarget(resp)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		//nolint:gosec // the registry chooses the address, and the transport's policy judges it
		request, err := http.NewRequestWithContext(ctx, r.Method, next.String(), nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set("User-Agent", userAgent)
		if value := r.Header.Get("Range"); value != "" {
			request.Header.Set("Range", value)
		}
		if resp, err = u.storage.RoundTrip(request); err != nil {
			return nil, errors.Join(errors.New("read a blob at "+next.Host), err)
		}
		switch {
		case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
			_ = resp.Body.Close()
			return nil, errStorage
		case !isRedirect(resp):
			return resp, nil
		}
	}
	_ = resp.Body.Close()
	return nil, unavailable(fmt.Sprintf("the registry's blob storage redirects more than %d times", maxRedirects))
}

// redirectTarget returns the address of a redirect: https, unless the registry is insecure.
func (u *upstream) redirectTarget(resp *http.Response) (*url.URL, error) {
	next, err := resp.Location()
	if err != nil || next.Host == "" || next.User != nil {
		return nil, unavailable("the registry redirects to an invalid address")
	}
	if next.Scheme != "https" && (next.Scheme != "http" || u.base.Scheme != "http") {
		return nil, unavailable("the registry redirects to an address without https")
	}
	return next, nil
}

// list reads the tags of a repository, or the manifests that refer to one.
func (p *Proxy) list(w http.ResponseWriter, r *http.Request, to route, query url.Values) error {
	if !reads(r) {
		return methodNotAllowed(w, http.MethodGet, http.MethodHead)
	}
	resp, err := p.upstream.send(r.Context(), p.call(r, to, query))
	if err != nil {
		return err
	}
	header := attemptserver.Pick(resp.Header, responseHeaders)
	if link := resp.Header.Get("Link"); link != "" {
		next, err := nextPage(link)
		if err != nil {
			_ = resp.Body.Close()
			return err
		}
		header.Set("Link", "<"+to.path()+"?"+next.Encode()+`>; rel="next"`)
	}
	return p.writeResponse(w, r, resp, header, "")
}

// nextPage returns the parameters of the next page's address. It leaves out the host and path, because
// the registry chooses them.
func nextPage(link string) (url.Values, error) {
	address, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	parsed, err := url.Parse(address)
	if !ok || err != nil || !strings.Contains(rest, "next") {
		return nil, unavailable("the registry's Link header for the next page of the list has an unknown form")
	}
	query, err := parseQuery(parsed.RawQuery)
	if err != nil {
		return nil, unavailable("the registry's Link header for the next page of the list has an unknown form")
	}
	next := only(query, "n", "last", "next_page", "artifactType")
	if !next.Has("last") && !next.Has("next_page") {
		// Without a position, the client would read the same page forever.
		return nil, unavailable("the registry's Link header for the next page of the list has an unknown form")
	}
	return next, nil
}
