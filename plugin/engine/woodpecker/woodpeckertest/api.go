package woodpeckertest

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// A Pipeline is a run of a pipeline. Its JSON is that of the API and of requests to extensions.
// https://woodpecker-ci.org/api
type Pipeline struct {
	Number    int64             `json:"number"`
	Author    string            `json:"author"`
	Event     string            `json:"event"`
	Status    string            `json:"status"`
	Branch    string            `json:"branch"`
	Started   int64             `json:"started"`
	Finished  int64             `json:"finished"`
	Canceled  *CancelInfo       `json:"cancel_info,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
	Errors    []fault           `json:"errors"`
	Workflows []*workflow       `json:"workflows,omitempty"`

	repo   *Repository
	cancel func() // stops the running step
}

// A CancelInfo names the cause of a cancellation by the server. Pipelines that the agent ended have none.
type CancelInfo struct {
	ByUser       string `json:"canceled_by_user,omitempty"`
	SupersededBy int64  `json:"superseded_by,omitempty"`
}

type fault struct {
	Message   string `json:"message"`
	IsWarning bool   `json:"is_warning"`
}

type workflow struct {
	Name     string  `json:"name"`
	State    string  `json:"state"`
	Children []*step `json:"children"`
}

type step struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"`
	ExitCode int    `json:"exit_code"`
	Error    string `json:"error,omitempty"`

	run   command
	lines []string
}

func (p *Pipeline) copy() Pipeline {
	c := *p
	c.Errors, c.Workflows = append([]fault{}, p.Errors...), nil
	for _, w := range p.Workflows {
		steps := make([]*step, 0, len(w.Children))
		for _, s := range w.Children {
			one := *s
			steps = append(steps, &one)
		}
		c.Workflows = append(c.Workflows, &workflow{w.Name, w.State, steps})
	}
	return c
}

func (p *Pipeline) steps() []*step {
	var all []*step
	for _, w := range p.Workflows {
		all = append(all, w.Children...)
	}
	return all
}

func (s *Server) route() {
	s.mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, map[string]string{"source": "https://github.com/woodpecker-ci/woodpecker", "version": s.o.Version})
	})
	s.mux.HandleFunc("GET /api/signature/public-key", s.publicKey)
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request, string){
		"GET /api/user": func(w http.ResponseWriter, _ *http.Request, login string) {
			respond(w, map[string]string{"login": login})
		},
		"GET /api/user/repos":                       s.listRepos,
		"POST /api/repos":                           s.activateRepo,
		"PATCH /api/repos/{id}":                     s.inRepo(s.patchRepo),
		"GET /api/repos/{id}/permissions":           s.inRepo(s.permissions),
		"POST /api/repos/{id}/pipelines":            s.inRepo(s.pushers(s.start)),
		"GET /api/repos/{id}/pipelines":             s.inRepo(s.list),
		"GET /api/repos/{id}/pipelines/{n}":         s.inRepo(s.show),
		"POST /api/repos/{id}/pipelines/{n}/cancel": s.inRepo(s.pushers(s.cancelPipeline)),
		"GET /api/repos/{id}/logs/{n}/{step}":       s.inRepo(s.logs),
	} {
		s.mux.HandleFunc(pattern, s.authenticated(h))
	}
}

// ServeHTTP serves Woodpecker's API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/api/repos/lookup/"); ok && r.Method == http.MethodGet {
		s.authenticated(func(w http.ResponseWriter, _ *http.Request, _ string) { s.lookup(w, name) })(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) authenticated(h func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		login, ok := s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		fail := s.failing > 0
		if fail {
			s.failing--
		}
		s.mu.Unlock()
		switch {
		case fail:
			w.WriteHeader(http.StatusInternalServerError)
		case !ok:
			http.Error(w, "User not authorized", http.StatusUnauthorized)
		default:
			h(w, r, login)
		}
	}
}

// FailNext makes the server return 500 to the next n calls.
func (s *Server) FailNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = n
}

// A repoHandler handles a user's request about a repository.
type repoHandler func(w http.ResponseWriter, r *http.Request, login string, repo *Repository)

func (s *Server) inRepo(h repoHandler) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, r *http.Request, login string) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		s.mu.Lock()
		known := err == nil && id > 0 && int(id) <= len(s.repos)
		var repo *Repository
		if known {
			repo = s.repos[id-1]
		}
		s.mu.Unlock()
		if !known {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		h(w, r, login, repo)
	}
}

func (s *Server) publicKey(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	der, err := x509.MarshalPKIXPublicKey(s.private.Public())
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = pem.Encode(w, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// json returns a repository as it appears in the API and in requests to extensions.
func (r *Repository) json() map[string]any {
	owner, name, _ := strings.Cut(r.FullName, "/")
	return map[string]any{
		"id": r.ID, "forge_remote_id": r.remoteID(), "owner": owner, "name": name, "full_name": r.FullName,
		"default_branch": r.DefaultBranch, "active": r.active,
		"timeout": r.settings.Timeout, "cancel_previous_pipeline_events": r.settings.CancelPrevious,
		"config_extension_endpoint":  r.settings.ConfigEndpoint,
		"config_extension_exclusive": r.settings.ConfigExclusive,
		"secret_extension_endpoint":  r.settings.SecretEndpoint,
	}
}

// patchRepo changes the settings in the request. Only administrators of the repository may.
func (s *Server) patchRepo(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := repo.settings
	err := json.NewDecoder(r.Body).Decode(&changed)
	switch {
	case !repo.admin:
		http.Error(w, "User not authorized", http.StatusForbidden)
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case changed.Timeout < 1:
		http.Error(w, "Timeout must be at least 1 minute", http.StatusBadRequest)
	default:
		repo.settings = changed
		respond(w, repo.json())
	}
}

func (r *Repository) remoteID() string { return "{" + strings.ReplaceAll(r.FullName, "/", "-") + "}" }

func (s *Server) listRepos(w http.ResponseWriter, r *http.Request, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []any{}
	for _, repo := range s.repos {
		if repo.active || (repo.push && r.URL.Query().Get("all") == "true") {
			all = append(all, repo.json())
		}
	}
	respond(w, all)
}

func (s *Server) activateRepo(w http.ResponseWriter, r *http.Request, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, repo := range s.repos {
		if repo.remoteID() != r.URL.Query().Get("forge_remote_id") {
			continue
		}
		if repo.active {
			http.Error(w, "Repository is already active.", http.StatusConflict)
			return
		}
		if !repo.admin {
			http.Error(w, "User has to be a admin of this repository", http.StatusForbidden)
			return
		}
		repo.active = true
		respond(w, repo.json())
		return
	}
	http.Error(w, "could not fetch repository from forge", http.StatusInternalServerError)
}

// lookup returns a repository by any of its current or former names, ignoring case.
func (s *Server) lookup(w http.ResponseWriter, fullName string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, repo := range s.repos {
		for _, name := range append([]string{repo.FullName}, repo.former...) {
			if strings.EqualFold(name, fullName) {
				respond(w, repo.json())
				return
			}
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

func (s *Server) permissions(w http.ResponseWriter, _ *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	respond(w, map[string]bool{"pull": true, "push": repo.push, "admin": repo.admin})
}

// pushers allows only users with push access. Other users get the response for an unknown
// repository.
func (s *Server) pushers(h repoHandler) repoHandler {
	return func(w http.ResponseWriter, r *http.Request, login string, repo *Repository) {
		s.mu.Lock()
		push := repo.push
		s.mu.Unlock()
		if !push {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		h(w, r, login, repo)
	}
}

// start responds like Woodpecker: 500 without a message for a branch that the forge does not have,
// 204 with a header for a pipeline without configuration, 204 without it if an extension failed,
// and 200 with status error for an invalid configuration.
func (s *Server) start(w http.ResponseWriter, r *http.Request, login string, repo *Repository) {
	var options struct {
		Branch    string            `json:"branch"`
		Variables map[string]string `json:"variables"`
	}
	if err := json.NewDecoder(r.Body).Decode(&options); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !s.o.HasBranch(repo.FullName, options.Branch) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	created, err := s.Manual(repo, options.Branch, login, options.Variables)
	s.mu.Lock()
	lose := s.loseResponse
	s.loseResponse = false
	s.mu.Unlock()
	switch {
	case lose:
		panic(http.ErrAbortHandler)
	case errors.Is(err, errBroken):
		w.WriteHeader(http.StatusInternalServerError)
	case errors.Is(err, errFiltered):
		w.Header().Set("Pipeline-Filtered", "true")
		w.WriteHeader(http.StatusNoContent)
	case err != nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		respond(w, created)
	}
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
			return n
		}
		return otherwise
	}
	perPage := min(number("perPage", 50), 50)
	skip := (number("page", 1) - 1) * perPage
	all := []Pipeline{}
	for i := len(repo.pipelines) - 1; i >= 0 && len(all) < perPage; i-- {
		p := repo.pipelines[i]
		if event := r.URL.Query().Get("event"); event != "" && event != p.Event {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		listed := p.copy()
		listed.Workflows = nil
		all = append(all, listed)
	}
	respond(w, all)
}

func (s *Server) pipeline(r *http.Request, repo *Repository) *Pipeline {
	for _, p := range repo.pipelines {
		if strconv.FormatInt(p.Number, 10) == r.PathValue("n") {
			return p
		}
	}
	return nil
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pipeline(r, repo)
	if p == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	respond(w, p.copy())
}

func (s *Server) logs(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pipeline(r, repo)
	if p == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	type entry struct {
		Line int    `json:"line"`
		Data []byte `json:"data"`
	}
	var entries []entry // null if empty, like Woodpecker
	for _, step := range p.steps() {
		if strconv.FormatInt(step.ID, 10) != r.PathValue("step") {
			continue
		}
		for i, line := range step.lines {
			data := []byte(line)
			if line == "" {
				data = nil
			}
			entries = append(entries, entry{i, data})
		}
	}
	respond(w, entries)
}

func respond(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // an error means that the client closed the connection
}
