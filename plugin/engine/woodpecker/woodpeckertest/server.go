// Package woodpeckertest is a Woodpecker server with one agent, as far as its API, its
// extensions and its local backend go: what a gateway needs of it, with its odd answers. Steps
// are run as real processes.
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

	"slipway/config/secret"
)

// Options make a Server.
type Options struct {
	// Program says which program a step's image is, as the agent's PATH does.
	Program func(image string) string
	// HasBranch says whether a repository has a branch at its forge.
	HasBranch func(repository, branch string) bool
	// Capacity is how many pipelines run at once; 0 = 4.
	Capacity int
	// Version is the server's; empty = 3.17.0.
	Version string
	// Environ is what steps inherit of the agent's environment; nil = PATH.
	Environ []string
}

// A Server is an http.Handler. It is safe for concurrent use; Close ends its agent.
type Server struct {
	o       Options
	mux     *http.ServeMux
	ctx     context.Context //nolint:containedctx // the agent's, which Close ends
	close   context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	private    ed25519.PrivateKey
	tokens     map[string]string // token → login
	repos      []*Repository
	config     string // extensions' addresses; empty = none
	secret     string
	loseAnswer bool
	breakNext  bool
	failing    int // calls still to be answered with 500
	queue      []*Pipeline
	busy       int
	held       bool
	nextStep   int64
}

// New returns a server without users and repositories.
func New(o Options) *Server {
	if o.Capacity == 0 {
		o.Capacity = 4
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

// RotateKey gives the server another key to sign with.
func (s *Server) RotateKey() {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // the system gives no random numbers
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private = private
}

// Close kills what runs and waits for it.
func (s *Server) Close() {
	s.close()
	s.running.Wait()
}

// AddUser adds a user, and returns its token. What users may do is the repositories' (Permit).
func (s *Server) AddUser(login string) secret.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := rand.Text()
	s.tokens[token] = login
	return secret.New(token)
}

// RevokeTokens makes all tokens void, as a user does who asks for a new one.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// A Repository is one that the server knows from its forge.
type Repository struct {
	ID            int64
	FullName      string
	DefaultBranch string

	active    bool
	push      bool
	admin     bool
	former    []string // names
	ownConfig string   // .woodpecker.yaml; empty = it has none
	pipelines []*Pipeline
}

// AddRepository makes a repository known, and not active. Users may do everything there.
func (s *Server) AddRepository(fullName, defaultBranch string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Repository{ID: int64(len(s.repos) + 1), FullName: fullName, DefaultBranch: defaultBranch, push: true, admin: true}
	s.repos = append(s.repos, r)
	return r
}

// Repository returns one by its full name; nil when it is not known.
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

// Permit sets what users may do in a repository; they always may read it.
func (s *Server) Permit(r *Repository, push, admin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.push, r.admin = push, admin
}

// Rename gives a repository another name; it is found by the old one too.
func (s *Server) Rename(r *Repository, fullName string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.former, r.FullName = append(r.former, r.FullName), fullName
}

// Activate is what a person presses.
func (s *Server) Activate(r *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.active = true
}

// SetConfig gives a repository a .woodpecker.yaml.
func (s *Server) SetConfig(r *Repository, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ownConfig = text
}

// SetExtensions sets the addresses of the config and the secret extension, as the server's
// environment does; empty = none.
func (s *Server) SetExtensions(config, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config, s.secret = config, secret
}

// LoseAnswer drops the connection of the next start of a pipeline after it was accepted.
func (s *Server) LoseAnswer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseAnswer = true
}

// BreakNext has the server's own database fail it in the middle of the next start: a pipeline
// stays behind that never becomes anything, and the answer is 500.
func (s *Server) BreakNext() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breakNext = true
}

// Hold keeps the agent from taking further pipelines; Release lets it go on.
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

// Pipelines lists a repository's pipelines, oldest first.
func (s *Server) Pipelines(r *Repository) []Pipeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Pipeline, 0, len(r.pipelines))
	for _, p := range r.pipelines {
		all = append(all, p.copy())
	}
	return all
}

// Push starts what a push to a branch starts, as the server's own webhook does: the
// repository's own pipeline, unless an extension has another one. Without a configuration
// nothing comes of it (nil).
func (s *Server) Push(r *Repository, branch string) *Pipeline {
	p := &Pipeline{Event: "push", Branch: branch, Author: "pusher"}
	if _, err := s.create(r, p); err != nil {
		return nil
	}
	return p
}

// Manual starts what a user starts on the server's own page.
func (s *Server) Manual(r *Repository, branch, login string, variables map[string]string) (Pipeline, error) {
	return s.create(r, &Pipeline{Event: "manual", Branch: branch, Author: login, Variables: variables})
}

// Log is everything that a pipeline's steps printed.
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
