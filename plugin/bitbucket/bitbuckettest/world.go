package bitbuckettest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
)

// A Permission is what an account may do with a repository.
type Permission int

// The permissions of Bitbucket, each including the ones before it.
const (
	None Permission = iota
	Read
	Write
	Admin
)

// String returns Bitbucket's word for p.
func (p Permission) String() string { return [...]string{"none", "read", "write", "admin"}[p] }

// Visibility tells whether strangers may read a repository.
type Visibility bool

// The two visibilities.
const (
	Public  Visibility = false
	Private Visibility = true
)

// A User is an account: a person, or the bot behind an access token.
type User struct {
	Name      string // log-in name and nickname
	UUID      string // with braces
	AccountID string
	Email     string

	server      *Server
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

// A Repository is a repository with its real git directory. Its methods act on the server.
type Repository struct {
	UUID      string
	Workspace *Workspace

	server  *Server
	dir     string     // the bare repository
	pushing sync.Mutex // held from before a push's refs are read until its webhooks are queued

	// Guarded by Server.mu.
	slug       string
	private    bool
	projectKey string
	createdOn  time.Time
	updatedOn  time.Time
	members    map[*User]Permission
	hooks      []*hook
	statuses   map[string][]*Status // by commit, oldest key first
	history    map[string][]Status
}

// world is who and what there is.
type world struct {
	users        []*User
	workspaces   []*Workspace
	repositories []*Repository
}

// AddUser adds a person named name, with the e-mail address name@example.com. Commits with
// that address are shown as the person's. Without SetPassword nobody can log in as them.
func (s *Server) AddUser(name string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.newUser(name, "user")
	s.world.users = append(s.world.users, u)
	return u
}

func (s *Server) newUser(name, kind string) *User {
	return &User{
		Name: name, UUID: newUUID(), AccountID: "557058:" + randomHex(12), Email: name + "@example.com",
		server: s, kind: kind,
	}
}

// SetPassword sets what the log-in page asks for.
func (u *User) SetPassword(password secret.Secret) {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	u.password = password
}

// SetGitPassword lets any git client in with Basic authentication as the user, as an API
// token does. It does not open the REST API.
func (u *User) SetGitPassword(password secret.Secret) {
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	u.gitPassword = password
}

// AddWorkspace adds a workspace. Its owner is an administrator of everything in it.
func (s *Server) AddWorkspace(slug string, owner *User) *Workspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &Workspace{Slug: slug, UUID: newUUID(), Owner: owner}
	s.world.workspaces = append(s.world.workspaces, w)
	return w
}

var slugPattern = regexp.MustCompile(`^[a-z0-9_.-]{1,62}$`)

// AddRepository adds an empty repository in the project PROJ.
func (s *Server) AddRepository(w *Workspace, slug string, v Visibility) (*Repository, error) {
	if !slugPattern.MatchString(slug) {
		return nil, fmt.Errorf("add repository %s/%s: a slug has lower-case letters, digits, and . _ -", w.Slug, slug)
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
	for _, other := range s.world.repositories {
		if other.Workspace == w && other.slug == slug {
			return nil, fmt.Errorf("add repository %s/%s: there is one", w.Slug, slug)
		}
	}
	s.world.repositories = append(s.world.repositories, r)
	return r, nil
}

// Grant gives u the permission p, or takes every permission with None.
func (r *Repository) Grant(u *User, p Permission) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if p == None {
		delete(r.members, u)
		return
	}
	r.members[u] = p
}

// SetProject moves the repository to the project with this key.
func (r *Repository) SetProject(key string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.projectKey = key
}

// Rename gives the repository another slug; its UUID stays.
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

// newUUID returns a random UUID in Bitbucket's braces.
func newUUID() string {
	h := randomHex(16)
	return fmt.Sprintf("{%s-%s-4%s-a%s-%s}", h[:8], h[8:12], h[13:16], h[17:20], h[20:])
}

func randomHex(n int) string { return hex.EncodeToString(randomBytes(n)) }

func randomText(n int) string { return base64.RawURLEncoding.EncodeToString(randomBytes(n)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program where the system has no randomness
	return b
}

func discardLogger() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}
