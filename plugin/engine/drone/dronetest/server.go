// Package dronetest is a fake Drone server with one exec runner. It implements the part of the API,
// the extensions, the webhooks and the runner that a gateway needs, including Drone's irregular
// responses. Steps run as real processes.
package dronetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/drone/drone-go/drone"

	"slipway/config/secret"
)

// Options configure a Server.
type Options struct {
	// Commit returns the head of a branch at the forge, or commit if it exists there. Empty = none.
	Commit func(repository, branch, commit string) string
	// ConfigWait replaces the 45 s for which Drone waits for a missing configuration.
	ConfigWait time.Duration
	// Capacity is the number of builds that run at once; 0 = 4.
	Capacity int
	// Program returns the command that stands for an image. If it is nil, there is no runner for
	// images, and pipelines of type docker wait.
	Program func(image string) []string
	// Minute is the real duration of a minute of a repository's timeout; 0 = a minute.
	Minute time.Duration
	// Environ is the environment that steps inherit from the runner; nil = PATH only.
	Environ []string
}

// An Extension is the address of one kind of request, and the key that signs it.
type Extension struct {
	URL    string // empty = not set
	Secret secret.Secret
}

// Extensions are the settings of the server (Config, Webhook) and of the runner (Secret).
type Extensions struct{ Config, Secret, Webhook Extension }

// A Server is an http.Handler. It is safe for concurrent use. Close stops its runner.
type Server struct {
	o       Options
	mux     *http.ServeMux
	ctx     context.Context // canceled by Close
	close   context.CancelFunc
	running sync.WaitGroup

	mu           sync.Mutex
	tokens       map[string]string // token → login
	repos        map[string]*Repository
	unseen       []string // repositories that the next sync adds
	extensions   Extensions
	remembered   map[string]string // configurations by a key without parameters
	loseResponse bool
	twice        bool
	lostCancel   bool
	queue        []*build
	busy         int
	noAdmins     bool
	held         bool
}

// A Repository is a repository that the server knows.
type Repository struct {
	drone.Repo
	ownConfig string // .drone.yml; empty = none
	builds    []*build
}

// A build is a build with the state of its runner.
type build struct {
	drone.Build
	kind   string // type of the runner that takes it
	repo   *Repository
	steps  []command
	lines  [][]string // by step
	over   []bool     // by step
	cancel func()     // stops the running step
	ended  chan struct{}

	restarted bool // its runner was stopped
}

// New returns a server without users and repositories.
func New(o Options) *Server {
	if o.Capacity == 0 {
		o.Capacity = 4
	}
	if o.Minute == 0 {
		o.Minute = time.Minute
	}
	if o.Environ == nil {
		o.Environ = []string{"PATH=" + os.Getenv("PATH")}
	}
	s := &Server{
		o: o, tokens: map[string]string{}, repos: map[string]*Repository{},
		remembered: map[string]string{}, mux: http.NewServeMux(),
	}
	s.ctx, s.close = context.WithCancel(context.Background())
	s.route()
	return s
}

// Close kills running steps and waits for their end.
func (s *Server) Close() {
	s.close()
	s.running.Wait()
}

// SetTimeout sets the timeout of a repository, in minutes.
func (s *Server) SetTimeout(r *Repository, minutes int64) { s.set(func() { r.Timeout = minutes }) }

// WithoutAdmins makes all users ordinary users, until WithAdmins.
func (s *Server) WithoutAdmins() { s.set(func() { s.noAdmins = true }) }

// WithAdmins ends WithoutAdmins.
func (s *Server) WithAdmins() { s.set(func() { s.noAdmins = false }) }

// AddUser adds an administrator and returns the user's token.
func (s *Server) AddUser(login string) secret.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := rand.Text()
	s.tokens[token] = login
	return secret.New(token)
}

// AddRepository adds a repository that is not active.
func (s *Server) AddRepository(fullName, defaultBranch string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addRepository(fullName, defaultBranch)
}

// AddUnseen adds a repository with the default branch main. The server knows it after a sync.
func (s *Server) AddUnseen(fullName string) { s.set(func() { s.unseen = append(s.unseen, fullName) }) }

// Repository returns a repository by its full name, or nil.
func (s *Server) Repository(fullName string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repos[fullName]
}

func (s *Server) addRepository(fullName, defaultBranch string) *Repository {
	owner, name, _ := strings.Cut(fullName, "/")
	r := &Repository{Repo: drone.Repo{
		ID: int64(
			len(s.repos) + 1,
		), Namespace: owner, Name: name, Slug: fullName, Branch: defaultBranch, Secret: "its-own-key",
		Timeout: 60,
	}}
	s.repos[fullName] = r
	return r
}

// SetConfig sets the .drone.yml of a repository.
func (s *Server) SetConfig(r *Repository, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ownConfig = text
}

// SetExtensions sets the extensions, as the environments of the server and the runner do.
func (s *Server) SetExtensions(e Extensions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extensions = e
}

// LoseResponse drops the connection of the next call that starts a build, after the build was
// created.
func (s *Server) LoseResponse() { s.set(func() { s.loseResponse = true }) }

// SendTwice sends every webhook twice. The second one may arrive out of order.
func (s *Server) SendTwice() { s.set(func() { s.twice = true }) }

// LoseCancels makes the runner miss all cancels, as happens if one arrives between two polls.
func (s *Server) LoseCancels() { s.set(func() { s.lostCancel = true }) }

// Hold stops the runner from taking further builds until Release.
func (s *Server) Hold() { s.set(func() { s.held = true }) }

// Release ends Hold.
func (s *Server) Release() {
	s.set(func() { s.held = false })
	s.dispatch()
}

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Builds returns a repository's builds, oldest first.
func (s *Server) Builds(r *Repository) []drone.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]drone.Build, 0, len(r.builds))
	for _, b := range r.builds {
		all = append(all, *b.shown())
	}
	return all
}

// Push creates the build for a push to a branch, as the server's own webhook does. It runs the
// repository's own pipeline, unless an extension returns another one. The build is nil if there is
// no pipeline.
func (s *Server) Push(r *Repository, branch, commit string) (*drone.Build, error) {
	return s.create(r, drone.Build{
		Event: "push", Trigger: "@hook", Sender: "pusher", Source: branch, Target: branch,
		Ref: "refs/heads/" + branch, After: commit,
	})
}

// Custom starts a build on the default branch as a user of the API.
func (s *Server) Custom(r *Repository, login string, params map[string]string) (*drone.Build, error) {
	return s.create(r, drone.Build{
		Event: "custom", Trigger: login, Sender: login, Source: r.Branch, Target: r.Branch,
		Ref:   "refs/heads/" + r.Branch,
		After: s.o.Commit(r.Slug, r.Branch, ""), Params: params,
	})
}

// Wait waits for the end of a build and returns its status.
func (s *Server) Wait(ctx context.Context, r *Repository, number int64) (string, error) {
	s.mu.Lock()
	b := r.builds[number-1]
	s.mu.Unlock()
	select {
	case <-b.ended:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.Status, ctx.Err()
}

// Log returns the whole output of a build's steps.
func (s *Server) Log(r *Repository, number int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	for _, b := range r.builds {
		if b.Number == number {
			for _, lines := range b.lines {
				fmt.Fprintln(&text, strings.Join(lines, "\n"))
			}
		}
	}
	return text.String()
}
