// Package gitrelay serves the build's repository under the source provider's own name, to the programs of
// one attempt. It passes fetches on to the gateway's git proxy and adds the attempt's token. So build
// hooks can fetch history, tags and LFS objects with a plain git, an unchanged origin and no credential.
package gitrelay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/runner/attemptserver"
)

const (
	maxRequest = 32 << 20 // bytes of a fetch's negotiation
	bufferSize = 64 << 10 // bytes
)

// Options describe the repository of one attempt. All fields but Plain and Others are required.
type Options struct {
	// Host is the provider's host name, for example "bitbucket.org".
	Host string
	// Plain means that addresses use http, not https.
	Plain bool
	// Path is the repository's path at the provider without ".git": "acme/app", or on Data Center
	// "scm/PROJ/app".
	Path string
	// Gateway is the build's address at the git proxy, for example "https://slipway.example.com/git/BUILD".
	Gateway *url.URL
	// Token is the attempt's token.
	Token secret.Secret
	// Others serves requests for anything but fetches of the repository; nil = they are refused.
	Others http.Handler
	// Transport sends requests to the gateway.
	Transport http.RoundTripper
	// Log gets one line for each request that got no response from the gateway.
	Log logrus.FieldLogger
}

// A Relay serves one repository during one attempt. It is an http.Handler and safe for concurrent use. It
// requires no credential, because only programs of the attempt reach it.
type Relay struct {
	o       Options
	attempt context.Context // the relay ends with it
	objects string          // path of LFS objects, here and at the gateway
	proxy   *httputil.ReverseProxy
	handler http.Handler
}

var _ http.Handler = (*Relay)(nil)

// New makes a relay that serves until the attempt ends. After that it returns 403, and running requests
// lose their connections. It fails for options that are missing or have another form.
func New(attempt context.Context, o Options) (*Relay, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("git relay: %w", err)
	}
	relay := &Relay{o: o, attempt: attempt, objects: o.Gateway.Path + "/lfs/"}
	relay.proxy = &httputil.ReverseProxy{
		Rewrite:        relay.rewrite,
		ModifyResponse: relay.checkResponse,
		ErrorHandler:   relay.fail,
		Transport:      o.Transport,
		ErrorLog:       attemptserver.NewErrorLog(o.Log),
		FlushInterval:  -1, // git shows the server's progress as it comes
		BufferPool:     &bufferPool{pool: sync.Pool{New: func() any { return new([bufferSize]byte) }}},
	}
	relay.handler = attemptserver.EndWith(attempt, http.HandlerFunc(refuseEnded), http.HandlerFunc(relay.serve))
	return relay, nil
}

var pathForm = regexp.MustCompile(`^[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)+$`)

func (o Options) check() error {
	switch {
	case o.Host == "", o.Gateway == nil, o.Transport == nil, o.Log == nil:
		return errors.New("an option is missing: Host, Gateway, Transport and Log are required")
	case o.Token.IsZero():
		return errors.New("Options.Token is empty")
	case !pathForm.MatchString(o.Path):
		return fmt.Errorf("%q is not the path of a repository, for example acme/app", o.Path)
	case o.Gateway.Host == "", !pathForm.MatchString(strings.TrimPrefix(o.Gateway.Path, "/")), o.Gateway.RawQuery != "":
		return fmt.Errorf("%q is not the address of a build: set https://host/git/BUILD", o.Gateway.Redacted())
	}
	return nil
}

// ServeHTTP handles one request.
func (l *Relay) ServeHTTP(w http.ResponseWriter, r *http.Request) { l.handler.ServeHTTP(w, r) }

func (l *Relay) serve(w http.ResponseWriter, r *http.Request) {
	_, ok := l.target(r)
	switch {
	case !ok && l.o.Others != nil && r.Header.Get("Upgrade") == "":
		l.o.Others.ServeHTTP(w, r)
		return
	case !ok:
		refuse(w, "this build may only fetch "+l.o.Path+" from "+l.o.Host)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	l.proxy.ServeHTTP(w, r)
}

// objectForm is the form of the gateway's ids of LFS objects.
var objectForm = regexp.MustCompile(`^[A-Za-z0-9_-]{16,128}$`)

// target returns the path and query at the gateway's address of the build. It compares the request
// URI as it was sent, without decoding, and returns false for any other one.
func (l *Relay) target(r *http.Request) (string, bool) {
	if r.Header.Get("Upgrade") != "" {
		return "", false
	}
	if id, ok := strings.CutPrefix(r.RequestURI, l.objects); ok {
		return "/lfs/" + id, r.Method == http.MethodGet && objectForm.MatchString(id)
	}
	rest, ok := cutPrefixFold(r.RequestURI, "/"+l.o.Path)
	if !ok {
		return "", false
	}
	rest = strings.TrimPrefix(rest, ".git")
	switch r.Method + " " + rest {
	case "GET /info/refs?service=git-upload-pack", "POST /git-upload-pack", "POST /info/lfs/objects/batch":
		return rest, true
	}
	return "", false
}

// cutPrefixFold is strings.CutPrefix without regard to case, which the provider ignores in a
// repository's path.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// refuseEnded and refuse return 403 in plain text: git shows it to people. A 401 would make git ask
// for a password.
func refuseEnded(w http.ResponseWriter, _ *http.Request) {
	refuse(w, attemptserver.ErrEnded.Error())
}

func refuse(w http.ResponseWriter, text string) { http.Error(w, text, http.StatusForbidden) }

// A bufferPool lends buffers to the reverse proxy. It is safe for concurrent use.
type bufferPool struct{ pool sync.Pool }

// Get returns a buffer.
func (p *bufferPool) Get() []byte {
	b, _ := p.pool.Get().(*[bufferSize]byte)
	return b[:]
}

// Put takes a buffer back.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }
