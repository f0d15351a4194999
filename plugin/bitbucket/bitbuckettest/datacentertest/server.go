// Package datacentertest is a small Bitbucket Data Center as an http.Handler, for build statuses. It has
// HTTP access tokens, commits and build statuses, with the errors and limits of Data Center.
//
// Source: https://developer.atlassian.com/server/bitbucket/rest/v905/api-group-builds-and-deployments/.
package datacentertest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"slipway/config/secret"
)

// maxJSON is the maximum size of a request's body, in bytes.
const maxJSON = 1 << 20

// A Server is a Data Center with one repository. Set its fields before the first request.
type Server struct {
	Context          string            // context path, e.g. /bitbucket; empty = none
	Project, Slug    string            // of the repository
	Token            secret.Secret     // HTTP access token with REPO_READ: for Bearer, or as the password of User
	User             string            // owner of the token; empty = the repository, only for Bearer
	WithoutCancelled bool              // a version without the state CANCELLED
	Commits          []string          // full hashes
	Tags             map[string]string // annotated tags: hash of the tag's object → commit

	mu      sync.Mutex
	history map[string][]Status
}

var _ http.Handler = (*Server)(nil)

// StatusHistory returns every build status that was sent for a commit, oldest first.
func (s *Server) StatusHistory(commit string) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history[commit])
}

// ServeHTTP serves the REST API below the context path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, s.Context+"/rest/api/latest/projects/")
	if !ok { // a web page: its log-in does not accept tokens
		http.Redirect(w, r, s.Context+"/login", http.StatusFound)
		return
	}
	if !s.authentic(r) {
		fail(w, http.StatusUnauthorized, "", "Authentication failed. Please check your credentials and try again.")
		return
	}
	parts := strings.Split(path, "/")
	switch {
	case len(parts) < 5 || parts[1] != "repos" || parts[3] != "commits":
		fail(w, http.StatusNotFound, "", "null for uri: "+r.URL.Path)
	case parts[0] != s.Project || parts[2] != s.Slug:
		fail(w, http.StatusNotFound, "", "Repository "+parts[0]+"/"+parts[2]+" does not exist.")
	case len(parts) == 5 && r.Method == http.MethodGet:
		s.getCommit(w, parts[4])
	case len(parts) == 6 && parts[5] == "builds" && r.Method == http.MethodPost:
		s.postStatus(w, r, parts[4])
	default:
		fail(w, http.StatusMethodNotAllowed, "", "HTTP 405 Method Not Allowed")
	}
}

// authentic accepts a repository's token as Bearer, and a user's token also as a password:
// https://confluence.atlassian.com/bitbucketserver/http-access-tokens-939515499.html
func (s *Server) authentic(r *http.Request) bool {
	if user, password, basic := r.BasicAuth(); basic {
		return s.User != "" && user == s.User && password == s.Token.Reveal()
	}
	return r.Header.Get("Authorization") == "Bearer "+s.Token.Reveal()
}

// getCommit returns a commit. It also accepts the hash of a tag object.
func (s *Server) getCommit(w http.ResponseWriter, revision string) {
	if commit, ok := s.Tags[revision]; ok {
		revision = commit
	}
	if !slices.Contains(s.Commits, revision) {
		fail(w, http.StatusNotFound, "", "Commit '"+revision+"' does not exist in repository '"+s.Slug+"'.")
		return
	}
	reply(w, http.StatusOK, map[string]any{"id": revision, "displayId": revision[:11]})
}

func fail(w http.ResponseWriter, status int, context, message string) {
	one := map[string]any{"context": nil, "message": message, "exceptionName": nil}
	if context != "" {
		one["context"] = context
	}
	reply(w, status, map[string]any{"errors": []any{one}})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has gone
}
