// Package dronetest is a Drone server with one exec runner, as far as its API, its extensions,
// its webhooks and that runner go: what a gateway needs of it, with its odd answers. Steps are
// run as real processes.
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

// Options make a Server.
type Options struct {
	// Commit finds the head of a branch, or checks a commit, at the forge; empty = none there.
	Commit func(repository, branch, commit string) string
	// ConfigWait stands for the 45 s in which a missing configuration is looked for.
	ConfigWait time.Duration
	// Capacity is how many builds run at once; 0 = 4.
	Capacity int
	// Program is what an image stands for, as a command; nil = there is no runner for images,
	// and pipelines of type docker wait.
	Program func(image string) []string
	// Environ is what steps inherit of the runner's environment; nil = PATH.
	Environ []string
}

// An Extension is where a kind of request goes, and what it is signed with.
type Extension struct {
	URL    string // empty = it is not set
	Secret secret.Secret
}

// Extensions are the server's and the runner's.
type Extensions struct{ Config, Secret, Webhook Extension }

// A Server is an http.Handler. It is safe for concurrent use; Close ends its runner.
type Server struct {
	o       Options
	mux     *http.ServeMux
	ctx     context.Context //nolint:containedctx // the runner's, which Close ends
	close   context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	tokens     map[string]string // token → login
	repos      map[string]*Repository
	unseen     []string // at the forge, and not known before the next sync
	extensions Extensions
	remembered map[string]string // configurations, by a key that has no parameters in it
	loseAnswer bool
	twice      bool
	lostCancel bool
	queue      []*build
	busy       int
	held       bool
}

// A Repository is one that the server knows of.
type Repository struct {
	drone.Repo
	ownConfig string // .drone.yml; empty = it has none
	builds    []*build
}

// A build is one with what its runner has of it.
type build struct {
	drone.Build
	kind   string // of runner that takes it
	repo   *Repository
	steps  []command
	lines  [][]string // by step
	over   []bool     // by step
	cancel func()     // of what runs
	ended  chan struct{}
}

// New returns a server without users and repositories.
func New(o Options) *Server {
	if o.Capacity == 0 {
		o.Capacity = 4
	}
	if o.Environ == nil {
		o.Environ = []string{"PATH=" + os.Getenv("PATH")}
	}
	s := &Server{
		o: o, tokens: map[string]string{}, repos: map[string]*Repository{}, remembered: map[string]string{}, mux: http.NewServeMux(),
	}
	s.ctx, s.close = context.WithCancel(context.Background())
	s.route()
	return s
}

// Close kills what runs and waits for it.
func (s *Server) Close() {
	s.close()
	s.running.Wait()
}

// AddUser adds an administrator, and returns its token.
func (s *Server) AddUser(login string) secret.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := rand.Text()
	s.tokens[token] = login
	return secret.New(token)
}

// AddRepository makes a repository known, and not active.
func (s *Server) AddRepository(fullName, defaultBranch string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addRepository(fullName, defaultBranch)
}

// AddUnseen makes a repository, with the default branch main, that is known after a sync.
func (s *Server) AddUnseen(fullName string) { s.set(func() { s.unseen = append(s.unseen, fullName) }) }

// Repository returns one by its full name; nil when it is not known.
func (s *Server) Repository(fullName string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repos[fullName]
}

func (s *Server) addRepository(fullName, defaultBranch string) *Repository {
	owner, name, _ := strings.Cut(fullName, "/")
	r := &Repository{Repo: drone.Repo{
		ID: int64(len(s.repos) + 1), Namespace: owner, Name: name, Slug: fullName, Branch: defaultBranch, Secret: "its-own-key",
	}}
	s.repos[fullName] = r
	return r
}

// SetConfig gives a repository a .drone.yml.
func (s *Server) SetConfig(r *Repository, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ownConfig = text
}

// SetExtensions sets what the environments of the server and the runner do.
func (s *Server) SetExtensions(e Extensions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extensions = e
}

// LoseAnswer drops the connection of the next start of a build after it was accepted.
func (s *Server) LoseAnswer() { s.set(func() { s.loseAnswer = true }) }

// TellTwice sends every webhook twice, the second one whenever it comes: out of order, too.
func (s *Server) TellTwice() { s.set(func() { s.twice = true }) }

// LoseCancels has the runner not hear of cancels, as when one falls into its pause.
func (s *Server) LoseCancels() { s.set(func() { s.lostCancel = true }) }

// Hold keeps the runner from taking further builds.
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

// Builds lists a repository's builds, oldest first.
func (s *Server) Builds(r *Repository) []drone.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]drone.Build, 0, len(r.builds))
	for _, b := range r.builds {
		all = append(all, *b.shown())
	}
	return all
}

// Push starts what a push to a branch starts, as the server's own webhook does: the
// repository's own pipeline, unless an extension has another one. Its build is nil when there
// is none.
func (s *Server) Push(r *Repository, branch, commit string) (*drone.Build, error) {
	return s.create(r, drone.Build{
		Event: "push", Trigger: "@hook", Sender: "pusher", Source: branch, Target: branch, Ref: "refs/heads/" + branch, After: commit,
	})
}

// Custom starts a build as somebody with access to the API does, on the default branch.
func (s *Server) Custom(r *Repository, login string, params map[string]string) (*drone.Build, error) {
	return s.create(r, drone.Build{
		Event: "custom", Trigger: login, Sender: login, Source: r.Branch, Target: r.Branch, Ref: "refs/heads/" + r.Branch,
		After: s.o.Commit(r.Slug, r.Branch, ""), Params: params,
	})
}

// Wait waits for the end of a build, and returns its status.
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

// Log is everything that a build's steps printed.
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
