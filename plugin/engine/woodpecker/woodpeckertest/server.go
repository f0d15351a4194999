// Package woodpeckertest is a fake Woodpecker server with one agent. It implements the part of the
// API, the extensions and the local backend that a gateway needs, including Woodpecker's irregular
// responses. Steps run as real processes.
package woodpeckertest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"slipway/config/secret"
)

// Options configure a Server.
type Options struct {
	// Program returns the program that stands for a step's image, as the agent's PATH does.
	Program func(image string) string
	// HasBranch reports whether a repository has a branch at its forge.
	HasBranch func(repository, branch string) bool
	// Capacity is the number of pipelines that run at once; 0 = 4.
	Capacity int
	// Version is the version that the server reports; empty = 3.17.0.
	Version string
	// Minute is the real duration of a minute of a repository's timeout; 0 = a minute.
	Minute time.Duration
	// Environ is the environment that steps inherit from the agent; nil = PATH only.
	Environ []string
}

// A Server is an http.Handler. It is safe for concurrent use. Close stops its agent.
type Server struct {
	o       Options
	mux     *http.ServeMux
	ctx     context.Context //nolint:containedctx // canceled by Close
	close   context.CancelFunc
	running sync.WaitGroup

	mu           sync.Mutex
	private      ed25519.PrivateKey
	tokens       map[string]string // token → login
	repos        []*Repository
	config       string // address of the config extension; empty = none
	secret       string
	loseResponse bool
	breakNext    bool
	failing      int // number of calls that still get 500
	queue        []*Pipeline
	busy         int
	held         bool
	nextStep     int64
}

// New returns a server without users and repositories.
func New(o Options) *Server {
	if o.Capacity == 0 {
		o.Capacity = 4
	}
	if o.Minute == 0 {
		o.Minute = time.Minute
	}
	if o.Version == "" {
		o.Version = "3.17.0"
	}
	if o.Environ == nil {
		o.Environ = []string{"PATH=" + os.Getenv("PATH")}
	}
	s := &Server{o: o, tokens: map[string]string{}, mux: http.NewServeMux()}
	s.ctx, s.close = context.WithCancel(context.Background())
	s.RotateKey()
	s.route()
	return s
}

// RotateKey replaces the key that the server signs with.
func (s *Server) RotateKey() {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // the system has no random numbers
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private = private
}

// Close kills running steps and waits for their end.
func (s *Server) Close() {
	s.close()
	s.running.Wait()
}

// AddUser adds a user and returns the user's token. Permit sets the rights of all users in a
// repository.
func (s *Server) AddUser(login string) secret.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := rand.Text()
	s.tokens[token] = login
	return secret.New(token)
}

// RevokeTokens invalidates all tokens, as a user does by creating a new one.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// A Repository is a repository that the server knows from its forge.
type Repository struct {
	ID            int64
	FullName      string
	DefaultBranch string

	active    bool
	push      bool
	admin     bool
	former    []string // former names
	ownConfig string   // .woodpecker.yaml; empty = none
	settings  Settings
	pipelines []*Pipeline
}

// Settings are the settings of a repository that PATCH changes.
type Settings struct {
	Timeout         int64    `json:"timeout"` // minutes
	CancelPrevious  []string `json:"cancel_previous_pipeline_events"`
	ConfigEndpoint  string   `json:"config_extension_endpoint"` // empty = that of the server
	ConfigExclusive bool     `json:"config_extension_exclusive"`
	SecretEndpoint  string   `json:"secret_extension_endpoint"` // empty = that of the server
}

// Settings returns the settings of a repository.
func (s *Server) Settings(r *Repository) Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.settings
}

// Set replaces the settings of a repository, as a user does on its page.
func (s *Server) Set(r *Repository, settings Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.settings = settings
}

// AddRepository adds a repository that is not active. Users have all rights in it.
func (s *Server) AddRepository(fullName, defaultBranch string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Repository{
		ID:            int64(len(s.repos) + 1),
		FullName:      fullName,
		DefaultBranch: defaultBranch,
		push:          true,
		admin:         true,
		settings:      Settings{Timeout: 60, CancelPrevious: []string{"push", "pull_request"}},
	}
	s.repos = append(s.repos, r)
	return r
}

// Repository returns a repository by its full name, or nil.
func (s *Server) Repository(fullName string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		if r.FullName == fullName {
			return r
		}
	}
	return nil
}

// Permit sets the rights of users in a repository. They can always read it.
func (s *Server) Permit(r *Repository, push, admin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.push, r.admin = push, admin
}

// Rename renames a repository. Lookups still find it by the old name.
func (s *Server) Rename(r *Repository, fullName string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.former, r.FullName = append(r.former, r.FullName), fullName
}

// Activate activates a repository, as a user does on its page.
func (s *Server) Activate(r *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.active = true
}

// SetConfig sets the .woodpecker.yaml of a repository.
func (s *Server) SetConfig(r *Repository, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ownConfig = text
}

// SetExtensions sets the addresses of the config and the secret extension, as the server's
// environment does. Empty = none.
func (s *Server) SetExtensions(config, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config, s.secret = config, secret
}

// LoseResponse drops the connection of the next call that starts a pipeline, after it was created.
func (s *Server) LoseResponse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseResponse = true
}

// BreakNext makes the server's database fail during the next start. The server returns 500, and a
// pipeline remains that never runs.
func (s *Server) BreakNext() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breakNext = true
}

// Hold stops the agent from taking further pipelines until Release.
func (s *Server) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

// Release ends Hold.
func (s *Server) Release() {
	s.mu.Lock()
	s.held = false
	s.mu.Unlock()
	s.dispatch()
}

// Pipelines returns a repository's pipelines, oldest first.
func (s *Server) Pipelines(r *Repository) []Pipeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Pipeline, 0, len(r.pipelines))
	for _, p := range r.pipelines {
		all = append(all, p.copy())
	}
	return all
}

// Push creates the pipeline for a push to a branch, as the server's own webhook does. It runs the
// repository's own workflow, unless an extension returns another one. It returns nil if there is no
// configuration.
func (s *Server) Push(r *Repository, branch string) *Pipeline {
	p := &Pipeline{Event: "push", Branch: branch, Author: "pusher"}
	if _, err := s.create(r, p); err != nil {
		return nil
	}
	return p
}

// Manual starts a pipeline as a user does on the server's page.
func (s *Server) Manual(r *Repository, branch, login string, variables map[string]string) (Pipeline, error) {
	return s.create(r, &Pipeline{Event: "manual", Branch: branch, Author: login, Variables: variables})
}

// Log returns the whole output of a pipeline's steps.
func (s *Server) Log(r *Repository, number int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	for _, p := range r.pipelines {
		for _, step := range p.steps() {
			if p.Number == number {
				fmt.Fprintln(&text, strings.Join(step.lines, "\n"))
			}
		}
	}
	return text.String()
}
