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

	"github.com/sirupsen/logrus"
)

// Options configure a Server. Only Root is required.
type Options struct {
	Root string // directory of the bare repositories; made when absent
	URL  string // public base URL without a trailing slash; SetURL sets it later, else the first request does

	AllowPrivateHooks bool // accept webhook URLs that do not resolve publicly; Cloud answers them with 400
	LegacyScopesField bool // name the token answer's field "scopes", as Cloud did before May 2026
	MaxSourceDepth    int  // src listings with a greater max_depth answer 555; 0 = no such limit

	TokenTTL     time.Duration // of access tokens; default 2 h
	CodeTTL      time.Duration // of authorization codes; default 5 min
	RefreshGrace time.Duration // how long a used refresh token still works; default 10 min, negative = not at all

	HookTimeout time.Duration // for one attempt of a webhook delivery; default 10 s, as Cloud
	RetryDelay  time.Duration // between the attempts; Cloud documents none, and none is the default
	MaxPush     int64         // bytes of one git request; default 512 MiB

	Transport http.RoundTripper // carries the webhooks; default http.DefaultTransport
	Now       func() time.Time  // default time.Now
	Log       logrus.FieldLogger
}

func (o Options) withDefaults() Options {
	orDuration := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	orDuration(&o.TokenTTL, 2*time.Hour)
	orDuration(&o.CodeTTL, 5*time.Minute)
	orDuration(&o.RefreshGrace, 10*time.Minute)
	orDuration(&o.HookTimeout, 10*time.Second)
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
		o.Log = discardLogger()
	}
	return o
}

// A Server is one Bitbucket Cloud.
type Server struct {
	options Options
	git     gitCommand
	api     http.Handler // /2.0/…
	web     http.Handler // log-in and OAuth pages
	smart   http.Handler // git
	courier *courier     // carries the webhooks
	lfs     lfsStorage

	mu    sync.Mutex // guards what follows, and the fields of repositories, users and hooks
	url   string
	world world
	oauth oauth
}

// New opens a Bitbucket with no users in it.
func New(options Options) (*Server, error) {
	options = options.withDefaults()
	root, err := filepath.Abs(options.Root)
	if err != nil || options.Root == "" {
		return nil, fmt.Errorf("bitbuckettest: Options.Root must name a directory, not %q", options.Root)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of repositories: %w", err)
	}
	options.Root = root
	git, err := findGit()
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, git: git, url: strings.TrimSuffix(options.URL, "/"), oauth: newOAuth()}
	s.courier = newCourier()
	s.api, s.web, s.smart = s.apiRoutes(), s.webRoutes(), s.gitRoutes()
	return s, nil
}

// ServeHTTP answers for the web origin and the API origin alike.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.learnURL(r)
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/2.0/"):
		s.api.ServeHTTP(w, withoutSlash(r))
	case path == "/" || strings.HasPrefix(path, "/site/") || strings.HasPrefix(path, "/account/"):
		s.web.ServeHTTP(w, r)
	default:
		s.smart.ServeHTTP(w, r)
	}
}

// withoutSlash takes a path for the same with a slash at its end, except where that means a
// directory of the source.
func withoutSlash(r *http.Request) *http.Request {
	path := strings.TrimRight(r.URL.Path, "/")
	if path == r.URL.Path || strings.Contains(path, "/src/") {
		return r
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = path, strings.TrimRight(r.URL.RawPath, "/")
	return r
}

// URL returns the base URL; it is empty before SetURL and the first request.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// SetURL says where the server is reached, once its listener exists.
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

// WaitIdle returns when no push is under way and every webhook delivery has ended, with all
// its attempts, or when ctx is done.
func (s *Server) WaitIdle(ctx context.Context) error { return s.courier.waitIdle(ctx) }

// Close drops the deliveries that are waiting and returns when none is under way. The
// repositories stay on disk.
func (s *Server) Close() { s.courier.close() }

func (s *Server) now() time.Time { return s.options.Now() }
