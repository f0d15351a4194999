package bitbuckettest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"slipway/config/discard"

	"github.com/sirupsen/logrus"
)

// Options configure a Server. Only Root is required.
type Options struct {
	Root string // directory of the bare repositories; created if necessary
	URL  string // public base URL without a trailing slash; if empty, set by SetURL or the first request

	AllowPrivateHooks bool // accept webhook URLs with private addresses, which Cloud rejects with 400
	LegacyScopesField bool // use the field "scopes" in token responses, as Cloud did before May 2026
	MaxSourceDepth    int  // src listings with a larger max_depth return 555; 0 = no limit
	RequestLimit      int  // API requests per hour and credential, at Cloud 1,000; more return 429; 0 = no limit
	UnstableOrder     bool // lists without "sort" change their order between pages, as Cloud's can

	TokenTTL     time.Duration // of access tokens; default 2 h
	CodeTTL      time.Duration // of authorization codes; default 5 min
	RefreshGrace time.Duration // time that a used refresh token stays valid; default 10 min, negative = none

	HookTimeout time.Duration // of one attempt of a webhook delivery; default 10 s, as Cloud
	RetryDelay  time.Duration // between attempts; default 0, Cloud documents none
	MaxPush     int64         // maximum size of a git request in bytes; default 512 MiB

	Transport http.RoundTripper // for webhooks; default http.DefaultTransport
	Now       func() time.Time  // default time.Now
	Log       logrus.FieldLogger
}

func (o Options) withDefaults() Options {
	setDefault := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	setDefault(&o.TokenTTL, 2*time.Hour)
	setDefault(&o.CodeTTL, 5*time.Minute)
	setDefault(&o.RefreshGrace, 10*time.Minute)
	setDefault(&o.HookTimeout, 10*time.Second)
	if o.MaxPush == 0 {
		o.MaxPush = 512 << 20
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = discard.Logger()
	}
	return o
}

// A Server is a Bitbucket Cloud. It is an http.Handler.
type Server struct {
	options Options
	git     gitCommand
	api     http.Handler // /2.0/…
	web     http.Handler // log-in and OAuth pages
	smart   http.Handler // git
	courier *courier     // sends the webhooks
	lfs     lfsStorage

	mu       sync.Mutex // guards the fields below, and the fields of repositories, users and hooks
	url      string
	onPage   func(Page) // nil = none
	state    state
	oauth    oauth
	requests meter
	comments int // number of comments so far, of all pull requests
}

// New returns a Bitbucket without users.
func New(options Options) (*Server, error) {
	options = options.withDefaults()
	root, err := filepath.Abs(options.Root)
	if err != nil || options.Root == "" {
		return nil, fmt.Errorf("bitbuckettest: Options.Root %q: set a directory", options.Root)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of repositories: %w", err)
	}
	options.Root = root
	git, err := findGit()
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:  options,
		git:      git,
		url:      strings.TrimSuffix(options.URL, "/"),
		oauth:    newOAuth(),
		requests: meter{},
	}
	s.courier = newCourier()
	s.api, s.web, s.smart = s.apiRoutes(), s.webRoutes(), s.gitRoutes()
	return s, nil
}

// ServeHTTP serves the web pages, the API and git.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.learnURL(r)
	r = withoutPrefix(r)
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/2.0/"):
		s.api.ServeHTTP(w, withoutSlash(r))
	case path == "/" || strings.HasPrefix(path, "/site/") || strings.HasPrefix(path, "/account/"):
		s.web.ServeHTTP(w, r)
	default:
		s.smart.ServeHTTP(w, r)
	}
}

// withoutPrefix removes the prefix that paths of the API have at bitbucket.org.
func withoutPrefix(r *http.Request) *http.Request {
	for _, prefix := range []string{"/!api", "/api"} {
		if path, ok := strings.CutPrefix(r.URL.Path, prefix); ok && strings.HasPrefix(path, "/2.0/") {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = path, strings.TrimPrefix(r.URL.RawPath, prefix)
			return r
		}
	}
	return r
}

// withoutSlash removes a slash at the end of the path, except below /src/, where it means a directory.
func withoutSlash(r *http.Request) *http.Request {
	path := strings.TrimRight(r.URL.Path, "/")
	if path == r.URL.Path || strings.Contains(path, "/src/") {
		return r
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = path, strings.TrimRight(r.URL.RawPath, "/")
	return r
}

// URL returns the base URL. It is empty before SetURL and the first request.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// SetURL sets the base URL, for example after its listener was created.
func (s *Server) SetURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = strings.TrimSuffix(url, "/")
}

func (s *Server) learnURL(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.url != "" {
		return
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	s.url = scheme + "://" + r.Host
}

// WaitIdle waits until no push is running and every webhook delivery has ended. It returns ctx.Err() if
// ctx ends first.
func (s *Server) WaitIdle(ctx context.Context) error { return s.courier.waitIdle(ctx) }

// Close drops waiting deliveries, and waits until running ones have ended. The repositories stay on disk.
func (s *Server) Close() { s.courier.close() }

func (s *Server) now() time.Time { return s.options.Now() }
