package datacentertest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Status is a build status of a commit, as in a request.
type Status struct {
	Key         string `json:"key"`
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Ref         string `json:"ref"`
	Parent      string `json:"parent"`
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// postStatus records a status. As Data Center, it does not check that the commit exists: it accepts a
// status of a tag object, but shows it nowhere.
func (s *Server) postStatus(w http.ResponseWriter, r *http.Request, commit string) {
	var one Status
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON)).Decode(&one); err != nil {
		fail(w, http.StatusBadRequest, "", "Bad Request")
		return
	}
	if context, message := s.check(commit, one); message != "" {
		fail(w, http.StatusBadRequest, context, message)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.history == nil {
		s.history = map[string][]Status{}
	}
	s.history[commit] = append(s.history[commit], one)
	w.WriteHeader(http.StatusNoContent)
}

// check checks a status against the documented rules.
func (s *Server) check(commit string, one Status) (context, message string) {
	states := []string{"SUCCESSFUL", "FAILED", "INPROGRESS"}
	if !s.WithoutCancelled {
		states = append(states, "CANCELLED", "UNKNOWN")
	}
	link, err := url.Parse(one.URL)
	switch {
	case !fullHash.MatchString(commit):
		return "", "A full commit hash must be provided"
	case one.Key == "" || utf8.RuneCountInString(one.Key) > 255:
		return "key", "The key must have between 1 and 255 characters"
	case !slices.Contains(states, one.State):
		return "state", "Please specify a valid state"
	case utf8.RuneCountInString(one.Name) > 255, utf8.RuneCountInString(one.Description) > 255:
		return "description", "size must be between 0 and 255"
	case err != nil || link.Host == "" || utf8.RuneCountInString(one.URL) > 450:
		return "", "Please specify a valid url"
	case one.Ref != "" && !strings.HasPrefix(one.Ref, "refs/"):
		return "ref", "An invalid branch was provided"
	}
	return "", ""
}
