package registryproxy

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"slipway/runner/attemptserver"
)

const (
	// maxManifest bounds a manifest, in bytes, as registries do.
	// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-manifests
	maxManifest = 4 << 20
	// maxPushes bounds the pushes of one attempt, so that its result can name all of them.
	maxPushes = 1000
	// maxManifests bounds the manifests that are held in memory at a time. Further requests wait.
	maxManifests = 8
)

// A Push is one manifest that a client put.
type Push struct {
	Repository string
	Tag        string // empty = by digest
	Digest     string
	// Unknown means that the registry failed or did not answer. The push may have succeeded.
	Unknown bool
}

// pushes are the pushes of the attempt. The zero value is ready; it is safe for concurrent use.
type pushes struct {
	mu      sync.Mutex
	done    []Push
	started int
}

// start reserves a place in the list, so that the list misses no successful push.
func (p *pushes) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started >= maxPushes {
		return problem{
			http.StatusTooManyRequests,
			"TOOMANYREQUESTS",
			fmt.Sprintf("this build has pushed %d manifests, and no more are allowed", maxPushes),
		}
	}
	p.started++
	return nil
}

// finish records a push that was started; nil = the registry refused it.
func (p *pushes) finish(done *Push) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if done == nil {
		p.started--
		return
	}
	p.done = append(p.done, *done)
}

func (p *pushes) list() []Push {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Push(nil), p.done...)
}

// putManifest puts a manifest. A tag needs the permit before the registry sees the request.
func (p *Proxy) putManifest(w http.ResponseWriter, r *http.Request, to route) error {
	select {
	case p.manifests <- struct{}{}:
		defer func() { <-p.manifests }()
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	body, err := readManifest(w, r)
	if err != nil {
		return err
	}
	push := Push{Repository: to.repository.name, Digest: digestOf(body, "sha256:")}
	if theForms().digest.MatchString(to.reference) {
		push.Digest = digestOf(body, to.reference)
		if push.Digest != to.reference {
			return problem{http.StatusBadRequest, "DIGEST_INVALID", "the manifest has the digest " + push.Digest}
		}
	} else {
		push.Tag = to.reference
	}
	if err := p.pushes.start(); err != nil {
		return err
	}
	var done *Push
	defer func() { p.pushes.finish(done) }()
	if push.Tag != "" {
		if err := p.askPermit(r, push); err != nil {
			return err
		}
	}
	c := p.call(r, to, nil)
	c.bytes = body
	resp, err := p.upstream.send(r.Context(), c)
	push.Unknown = err != nil && !errors.As(err, new(problem)) || err == nil &&
		resp.StatusCode >= http.StatusInternalServerError
	if push.Unknown {
		done = &push
	}
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 { // the specification has 201; another success stores it, too
		return p.writeResponse(w, r, resp, attemptserver.Pick(resp.Header, responseHeaders), "")
	}
	done = &push
	stored := resp.Header.Get("Docker-Content-Digest")
	if stored != "" && stored != push.Digest && stored != digestOf(body, "sha256:") {
		_ = resp.Body.Close()
		return unavailable("the registry stored the manifest with another digest")
	}
	header := attemptserver.Pick(resp.Header, responseHeaders)
	header.Set("Docker-Content-Digest", push.Digest)
	header.Set("Location", p.address(r, to))
	return p.writeResponse(w, r, resp, header, "")
}

func readManifest(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, problem{http.StatusRequestEntityTooLarge, "SIZE_INVALID", "the manifest is larger than 4 MiB"}
	}
	if err != nil {
		return nil, problem{
			http.StatusBadRequest,
			"MANIFEST_INVALID",
			"the manifest is incomplete: the connection ended",
		}
	}
	return body, nil
}

func (p *Proxy) askPermit(r *http.Request, push Push) error {
	err := p.permit(r.Context(), push.Repository, push.Tag, push.Digest)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRefused):
		return problem{http.StatusForbidden, "DENIED", err.Error()}
	}
	p.log.WithError(err).Warnf("registry proxy: permit for %s:%s", push.Repository, push.Tag)
	return problem{
		http.StatusServiceUnavailable,
		"UNAVAILABLE",
		"the gateway did not answer the permit request for this tag: try again",
	}
}

// digestOf returns the digest of a body. like begins with the algorithm and a colon, for example "sha256:".
func digestOf(body []byte, like string) string {
	algorithm := like[:strings.IndexByte(like, ':')+1]
	sum := newHash(algorithm)
	sum.Write(body)
	return algorithm + hex.EncodeToString(sum.Sum(nil))
}
