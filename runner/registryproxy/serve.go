package registryproxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net/http"
	"strings"
)

// errUnauthorized is the response to a client without the attempt's token. The registry's own
// challenge never reaches a client: it would send the token to another host.
var errUnauthorized = problem{http.StatusUnauthorized, "UNAUTHORIZED",
	"authentication required: use the credential in the build's config.json"}

// handle handles a request while the attempt runs.
func (p *Proxy) handle(w http.ResponseWriter, r *http.Request) {
	if to, err := p.serve(w, r); err != nil {
		p.fail(w, r, to, err)
	}
}

// serve handles a request and returns its route. If it returns an error, nothing was written yet.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) (route, error) {
	if !p.authenticated(r) {
		return route{}, errUnauthorized
	}
	if r.RequestURI == "/v2/" || r.RequestURI == "/v2" {
		return route{}, p.ping(w, r)
	}
	to, query, err := p.parse(r.RequestURI)
	if err != nil {
		return to, err
	}
	if to.repository.pullOnly && !reads(r) {
		return to, problem{
			http.StatusForbidden,
			"DENIED",
			"this build may pull " + to.repository.name + ", but not push it",
		}
	}
	switch to.kind {
	case kindManifest:
		return to, p.manifest(w, r, to)
	case kindBlob:
		return to, p.blob(w, r, to)
	case kindUploadStart:
		return to, p.startUpload(w, r, to, query)
	case kindUpload:
		return to, p.continueUpload(w, r, to, query)
	case kindTags:
		return to, p.list(w, r, to, only(query, "n", "last", "next_page"))
	default:
		return to, p.list(w, r, to, only(query, "artifactType", "n", "last", "next_page"))
	}
}

// authenticated reports whether a request has the attempt's token as Basic password. The user name
// is free: some clients require one.
func (p *Proxy) authenticated(r *http.Request) bool {
	_, password, ok := r.BasicAuth()
	sum := sha256.Sum256([]byte(password))
	return ok && len(r.Header.Values("Authorization")) == 1 && subtle.ConstantTimeCompare(sum[:], p.token[:]) == 1
}

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// ping handles the request by which clients find out how to authenticate.
func (p *Proxy) ping(w http.ResponseWriter, r *http.Request) error {
	if !reads(r) {
		return methodNotAllowed(w, http.MethodGet, http.MethodHead)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	_, _ = io.WriteString(w, "{}")
	return nil
}

// address returns the proxy's own address of a route, under the name that the client used, if it is one of
// the proxy's names.
func (p *Proxy) address(r *http.Request, to route) string {
	host := p.names[0]
	for _, name := range p.names {
		if strings.EqualFold(r.Host, name) || strings.EqualFold(r.Host, name+":443") {
			host = name
		}
	}
	return "https://" + host + to.path()
}
