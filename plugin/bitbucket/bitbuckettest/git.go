package bitbuckettest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"slices"
	"strings"
)

// gitRoutes serves git's smart protocol: https://git-scm.com/docs/http-protocol.
func (s *Server) gitRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{workspace}/{slug}/info/refs", func(w http.ResponseWriter, r *http.Request) {
		s.serveGit(w, r, r.URL.Query().Get("service"), "/info/refs")
	})
	mux.HandleFunc("POST /{workspace}/{slug}/info/lfs/objects/batch", s.batch)
	for _, service := range []string{"git-upload-pack", "git-receive-pack"} {
		mux.HandleFunc("POST /{workspace}/{slug}/"+service, func(w http.ResponseWriter, r *http.Request) {
			s.serveGit(w, r, service, "/"+service)
		})
	}
	return mux
}

// serveGit checks the authorization of a client and runs git-http-backend.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request, service, path string) {
	if service != "git-upload-pack" && service != "git-receive-pack" {
		http.Error(w, "Bitbucket speaks the smart protocol only. Please upgrade your git client.", http.StatusForbidden)
		return
	}
	needs := Read
	if service == "git-receive-pack" {
		needs = Write
	}
	repo := s.findRepository(r.PathValue("workspace"), strings.TrimSuffix(r.PathValue("slug"), ".git"))
	who, err := s.authorizeGit(r, repo, needs)
	if err != nil {
		rejectGit(w, err)
		return
	}
	if path != "/git-receive-pack" {
		s.backend(w, r, repo, who, path)
		return
	}
	answered := false
	err = s.push(r.Context(), repo, who.account, func() error {
		answered = true
		s.backend(w, r, repo, who, path)
		return nil
	})
	if err != nil {
		s.options.Log.WithError(err).Error("bitbuckettest: push failed")
	}
	if !answered {
		http.Error(w, "Something went wrong", http.StatusInternalServerError)
	}
}

// authorizeGit accepts the user x-token-auth with any token, and users with their git password. It
// returns 404 for a repository that the client may not read.
func (s *Server) authorizeGit(r *http.Request, repo *Repository, needs Permission) (principal, error) {
	who, err := s.gitPrincipal(r)
	if err != nil {
		return who, err
	}
	has := s.permission(who, repo)
	switch {
	case has < needs && who.account == nil:
		return who, errAnonymous
	case has < Read:
		return who, notFound("Repository not found")
	case has < needs:
		return who, forbidden("You do not have write access to this repository.")
	case needs == Write:
		return who, who.require("repository:write")
	default:
		return who, who.require("repository")
	}
}

// gitScopes are the scopes of a git password: all that git needs.
var gitScopes = []string{"repository:write"}

func (s *Server) gitPrincipal(r *http.Request) (principal, error) {
	name, password, basic := r.BasicAuth()
	if !basic {
		return s.authenticate(r)
	}
	if name == "x-token-auth" {
		return s.bearer(password)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.state.users, func(u *User) bool {
		named := name == u.Name || name == "x-bitbucket-api-token-auth"
		return named && !u.gitPassword.IsZero() && u.gitPassword.Reveal() == password
	})
	if i < 0 {
		return principal{}, unauthorized("Invalid credentials")
	}
	return principal{account: s.state.users[i], kind: "apitoken", scopes: gitScopes}, nil
}

func rejectGit(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var known *apiError
	if errors.As(err, &known) {
		status = known.status
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Bitbucket.org HTTP"`)
	}
	http.Error(w, err.Error(), status)
}

// backend runs git-http-backend on the repository.
func (s *Server) backend(w http.ResponseWriter, r *http.Request, repo *Repository, who principal, path string) {
	r.Body = http.MaxBytesReader(w, r.Body, s.options.MaxPush)
	inner := r.Clone(r.Context())
	if err := measureBody(inner); err != nil {
		http.Error(w, "The request is too large.", http.StatusRequestEntityTooLarge)
		return
	}
	defer inner.Body.Close()
	inner.URL.Path, inner.URL.RawPath = path, ""
	inner.Header.Del("Authorization") // keep it out of the environment of the process
	program := &cgi.Handler{
		Path: s.git.backend,
		Dir:  repo.dir,
		Env: append([]string{
			"GIT_PROJECT_ROOT=" + repo.dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"),
		}, isolation...),
		Stderr: io.Discard,
	}
	if who.account != nil {
		program.Env = append(program.Env, "REMOTE_USER="+who.account.Name)
	}
	program.ServeHTTP(w, inner)
}

// measureBody writes the body of a chunked request to a file, because CGI needs its length.
func measureBody(r *http.Request) error {
	if r.ContentLength >= 0 {
		return nil
	}
	file, err := os.CreateTemp("", "bitbuckettest-push-*")
	if err != nil {
		return fmt.Errorf("create a file for a push: %w", err)
	}
	_ = os.Remove(file.Name()) // the file exists as long as it is open
	length, err := io.Copy(file, r.Body)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("store a push: %w", err)
	}
	r.Body, r.ContentLength, r.TransferEncoding = file, length, nil
	return nil
}
