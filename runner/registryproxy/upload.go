package registryproxy

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"slipway/runner/attemptserver"
)

const (
	maxUploads  = 1000    // uploads of one attempt that are not finished
	maxLocation = 4 << 10 // bytes of an upload's address
)

var errUploads = problem{
	http.StatusTooManyRequests,
	"TOOMANYREQUESTS",
	fmt.Sprintf("this build has %d unfinished uploads, and no more are allowed", maxUploads),
}

// An upload is one that the attempt has begun at the registry. The client does not get its address,
// because the address contains the registry's own state.
type upload struct {
	repository string
	location   *url.URL
}

// uploads holds the attempt's unfinished uploads by the proxy's IDs. It is safe for concurrent use.
type uploads struct {
	mu   sync.Mutex
	byID map[string]upload
}

func (u *uploads) get(to route) (upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	found, ok := u.byID[to.reference]
	if !ok || found.repository != to.repository.name {
		return upload{}, problem{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "there is no such upload"}
	}
	return found, nil
}

// put stores an upload's address, and returns its id: a new one for id "".
func (u *uploads) put(id string, changed upload) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id == "" {
		if len(u.byID) >= maxUploads {
			return "", errUploads
		}
		id = rand.Text()
	}
	u.byID[id] = changed
	return id, nil
}

// full reports whether put would refuse a new upload, before the registry begins one.
func (u *uploads) full() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.byID) >= maxUploads
}

func (u *uploads) remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byID, id)
}

// startUpload begins an upload, or mounts a blob of another repository that the build may use. It mounts
// nothing from other repositories, because the registry would allow that for the installation's
// credential.
func (p *Proxy) startUpload(w http.ResponseWriter, r *http.Request, to route, query url.Values) error {
	if r.Method != http.MethodPost {
		return methodNotAllowed(w, http.MethodPost)
	}
	if p.uploads.full() {
		return errUploads
	}
	kept := only(query, "digest", "digest-algorithm")
	scopes := []string{to.repository.scope()}
	if from, ok := p.find(query.Get("from")); ok && query.Has("mount") {
		kept = only(query, "mount", "from")
		if from.name != to.repository.name {
			scopes = append(scopes, from.scope())
		}
	}
	c := p.call(r, to, kept)
	c.scopes, c.stream, c.length = scopes, r.Body, r.ContentLength
	resp, err := p.upstream.send(r.Context(), c)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusCreated: // whole in one request, or mounted
		digest := kept.Get("digest") + kept.Get("mount")
		return p.writeBlobResponse(w, r, to, resp, digest)
	case http.StatusAccepted:
		return p.writeUploadResponse(w, r, to, resp)
	}
	return p.writeResponse(w, r, resp, attemptserver.Pick(resp.Header, responseHeaders), "")
}

// find returns the repository of a name, if the build may use it.
func (p *Proxy) find(name string) (repository, bool) {
	for _, r := range p.allowed {
		if r.name == name {
			return r, true
		}
	}
	return repository{}, false
}

// continueUpload serves an upload that the attempt has begun.
func (p *Proxy) continueUpload(w http.ResponseWriter, r *http.Request, to route, query url.Values) error {
	begun, err := p.uploads.get(to)
	if err != nil {
		return err
	}
	c := p.call(r, to, nil)
	target := *begun.location
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		defer p.uploads.remove(to.reference)
	case http.MethodPatch:
		c.stream, c.length = r.Body, r.ContentLength
	case http.MethodPut:
		if !query.Has("digest") {
			return problem{http.StatusBadRequest, "DIGEST_INVALID", "the query parameter digest is missing"}
		}
		withDigest := "digest=" + url.QueryEscape(query.Get("digest"))
		if target.RawQuery != "" { // kept as it is: registries sign it
			withDigest = target.RawQuery + "&" + withDigest
		}
		target.RawQuery = withDigest
		c.stream, c.length = r.Body, r.ContentLength
	default:
		return methodNotAllowed(w, http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete)
	}
	c.target = target.String()
	resp, err := p.upstream.send(r.Context(), c)
	if err != nil {
		return err
	}
	switch {
	case resp.StatusCode == http.StatusCreated:
		p.uploads.remove(to.reference)
		return p.writeBlobResponse(w, r, to, resp, query.Get("digest"))
	case resp.Header.Get("Location") != "" && resp.StatusCode < 300, resp.StatusCode == http.StatusAccepted:
		return p.writeUploadResponse(w, r, to, resp)
	case resp.StatusCode == http.StatusNotFound:
		p.uploads.remove(to.reference)
	}
	return p.writeResponse(w, r, resp, attemptserver.Pick(resp.Header, responseHeaders), "")
}

// hostOf returns an address's host and port in one spelling.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// writeBlobResponse sends the client the address of its blob.
func (p *Proxy) writeBlobResponse(
	w http.ResponseWriter,
	r *http.Request,
	to route,
	resp *http.Response,
	digest string,
) error {
	if !theForms().digest.MatchString(digest) {
		_ = resp.Body.Close()
		return unavailable("the registry stored a blob without a digest")
	}
	header := attemptserver.Pick(resp.Header, responseHeaders)
	header.Set("Docker-Content-Digest", digest)
	header.Set("Location", p.address(r, route{repository: to.repository, kind: kindBlob, reference: digest}))
	return p.writeResponse(w, r, resp, header, "")
}

// writeUploadResponse sends the client the proxy's address of its upload.
func (p *Proxy) writeUploadResponse(w http.ResponseWriter, r *http.Request, to route, resp *http.Response) error {
	next, err := resp.Location()
	if err != nil || next.Scheme != p.upstream.base.Scheme || next.User != nil ||
		hostOf(next) != hostOf(p.upstream.base) {
		_ = resp.Body.Close()
		return unavailable("the registry sends uploads to another host")
	}
	if len(next.String()) > maxLocation {
		_ = resp.Body.Close()
		return unavailable(fmt.Sprintf("the registry's address of an upload has more than %d bytes", maxLocation))
	}
	id, err := p.uploads.put(to.reference, upload{to.repository.name, next})
	if err != nil {
		_ = resp.Body.Close()
		return err
	}
	header := attemptserver.Pick(resp.Header, responseHeaders)
	header.Set("Docker-Upload-Uuid", id)
	header.Set("Location", p.address(r, route{repository: to.repository, kind: kindUpload, reference: id}))
	return p.writeResponse(w, r, resp, header, "")
}
