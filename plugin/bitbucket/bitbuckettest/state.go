package bitbuckettest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"sync"
	"time"

	"slipway/config/secret"
)

// A Permission is the permission of an account on a repository.
type Permission int

// The permissions of Bitbucket. Each includes the previous ones.
const (
	None Permission = iota
	Read
	Write
	Admin
)

// String returns Bitbucket's name of the permission, e.g. "read".
func (p Permission) String() string { return [...]string{"none", "read", "write", "admin"}[p] }

// Visibility is the visibility of a repository: public or private.
type Visibility bool

// The two visibilities.
const (
	Public  Visibility = false
	Private Visibility = true
)

// A User is an account: a person, or the bot behind an access token.
type User struct {
	Name      string // user name and nickname
	UUID      string // with braces
	AccountID string
	Email     string

	server      *Server
	createdOn   time.Time
	kind        string // "user" or "app_user"
	password    secret.Secret
	gitPassword secret.Secret
	apiTokens   []apiToken
}

// A Workspace owns repositories.
type Workspace struct {
	Slug  string
	UUID  string
	Owner *User
}

// A Repository is a repository with a real git directory. Its methods act on the server.
type Repository struct {
	UUID      string
	Workspace *Workspace

	server  *Server
	dir     string     // the bare repository
	pushing sync.Mutex // locked during a push, until its webhooks are queued

	// Guarded by Server.mu.
	slug       string
	private    bool
	projectKey string
	createdOn  time.Time
	updatedOn  time.Time
	members    map[*User]Permission
	hooks      []*hook
	statuses   map[string][]*Status // by commit, oldest first
	history    map[string][]Status
	pulls      []*PullRequest // by ID, from 1
}

// state has the users, workspaces and repositories.
type state struct {
	users        []*User
	workspaces   []*Workspace
	repositories []*Repository
}

// AddUser adds a person with a name and the e-mail address name@example.com. Commits with that address
// show the person as the author. To log in, the person needs a password (SetPassword).
func (s *Server) AddUser(name string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.newUser(name, "user")
	s.state.users = append(s.state.users, u)
	return u
}

func (s *Server) newUser(name, kind string) *User {
	return &User{
		Name: name, UUID: newUUID(), AccountID: "557058:" + randomHex(12), Email: name + "@example.com",
		server: s, kind: kind, createdOn: s.now(),
	}
}

// SetPassword sets the password for the log-in page.
func (u *User) SetPassword(password secret.Secret) {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	u.password = password
}

// SetGitPassword sets the password for git over HTTP with Basic authentication, as an API token. It is
// not valid for the REST API.
func (u *User) SetGitPassword(password secret.Secret) {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	u.gitPassword = password
}

// AddWorkspace adds a workspace. Its owner is the administrator of all its repositories.
func (s *Server) AddWorkspace(slug string, owner *User) *Workspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &Workspace{Slug: slug, UUID: newUUID(), Owner: owner}
	s.state.workspaces = append(s.state.workspaces, w)
	return w
}

var slugPattern = regexp.MustCompile(`^[a-z0-9_.-]{1,62}$`)

// AddRepository adds an empty repository in the project PROJ.
func (s *Server) AddRepository(w *Workspace, slug string, v Visibility) (*Repository, error) {
	if !slugPattern.MatchString(slug) {
		return nil, fmt.Errorf(
			"add repository %s/%s: invalid slug: use lower-case letters, digits and . _ -",
			w.Slug,
			slug,
		)
	}
	now := s.now()
	r := &Repository{
		UUID: newUUID(), Workspace: w, server: s, slug: slug, private: bool(v), projectKey: "PROJ",
		createdOn: now, updatedOn: now, members: map[*User]Permission{},
		statuses: map[string][]*Status{}, history: map[string][]Status{},
	}
	if err := s.initRepository(r); err != nil {
		return nil, fmt.Errorf("add repository %s/%s: %w", w.Slug, slug, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.state.repositories {
		if other.Workspace == w && other.slug == slug {
			return nil, fmt.Errorf("add repository %s/%s: it exists", w.Slug, slug)
		}
	}
	s.state.repositories = append(s.state.repositories, r)
	return r, nil
}

// Grant sets the permission of a user. None removes it.
func (r *Repository) Grant(u *User, p Permission) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if p == None {
		delete(r.members, u)
		return
	}
	r.members[u] = p
}

// SetProject moves the repository to the project with a key.
func (r *Repository) SetProject(key string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.projectKey = key
}

// Rename changes the slug of the repository. The UUID stays the same.
func (r *Repository) Rename(slug string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.slug = slug
}

// FullName returns workspace/slug.
func (r *Repository) FullName() string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.fullName()
}

func (r *Repository) fullName() string { return r.Workspace.Slug + "/" + r.slug }

// CloneURL returns the HTTPS clone URL, without credentials.
func (r *Repository) CloneURL() string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.server.url + "/" + r.fullName() + ".git"
}

// newUUID returns a random UUID in braces, as Bitbucket does.
func newUUID() string {
	h := randomHex(16)
	return fmt.Sprintf("{%s-%s-4%s-a%s-%s}", h[:8], h[8:12], h[13:16], h[17:20], h[20:])
}

func randomHex(n int) string { return hex.EncodeToString(randomBytes(n)) }

func randomText(n int) string { return base64.RawURLEncoding.EncodeToString(randomBytes(n)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never returns an error
	return b
}
