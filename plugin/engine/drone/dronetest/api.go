package dronetest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"
)

// version is the version that Drone v2.28.2 reports.
const version = "2.28.1"

func (s *Server) route() {
	s.mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, map[string]string{"source": "https://github.com/drone/drone", "version": version})
	})
	s.mux.HandleFunc("GET /varz", func(w http.ResponseWriter, _ *http.Request) {
		respond(
			w,
			map[string]any{
				"license": map[string]any{
					"kind":      "trial",
					"seats":     0,
					"repos":     0,
					"expire_at": "0001-01-01T00:00:00Z",
				},
			},
		)
	})
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request, string){
		"GET /api/user": func(w http.ResponseWriter, _ *http.Request, login string) {
			respond(w, drone.User{Login: login, Admin: true})
		},
		"GET /api/system/stats": func(w http.ResponseWriter, _ *http.Request, _ string) {
			respond(w, map[string]any{})
		},
		"POST /api/user/repos":                                  s.sync,
		"GET /api/repos/{owner}/{name}":                         s.inRepo(s.showRepo),
		"POST /api/repos/{owner}/{name}":                        s.inRepo(s.enable),
		"PATCH /api/repos/{owner}/{name}":                       s.inRepo(s.patchRepo),
		"POST /api/repos/{owner}/{name}/builds":                 s.inRepo(s.start),
		"GET /api/repos/{owner}/{name}/builds":                  s.inRepo(s.list),
		"GET /api/repos/{owner}/{name}/builds/{n}":              s.inRepo(s.show),
		"DELETE /api/repos/{owner}/{name}/builds/{n}":           s.inRepo(s.kill),
		"GET /api/repos/{owner}/{name}/builds/{n}/logs/{a}/{b}": s.inRepo(s.log),
	} {
		s.mux.HandleFunc(pattern, s.authenticated(h))
	}
}

// ServeHTTP serves Drone's API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) authenticated(h func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		login, ok := s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
		s.mu.Unlock()
		if !ok {
			fail(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		h(w, r, login)
	}
}

func (s *Server) inRepo(
	h func(http.ResponseWriter, *http.Request, string, *Repository),
) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, r *http.Request, login string) {
		s.mu.Lock()
		repo := s.repos[r.PathValue("owner")+"/"+r.PathValue("name")]
		s.mu.Unlock()
		if repo == nil {
			fail(w, http.StatusNotFound, "Not Found")
			return
		}
		h(w, r, login, repo)
	}
}

// sync adds the repositories that the forge has shown since the last sync.
func (s *Server) sync(w http.ResponseWriter, _ *http.Request, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.unseen {
		s.addRepository(name, "main")
	}
	s.unseen = nil
	all := []drone.Repo{}
	for _, repo := range s.repos {
		all = append(all, repo.Repo)
	}
	respond(w, all)
}

func (s *Server) showRepo(w http.ResponseWriter, _ *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := repo.Repo
	shown.Secret = ""
	respond(w, shown)
}

// patchRepo changes the timeout. Like Drone it ignores that of a user who is no administrator.
func (s *Server) patchRepo(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	var in drone.RepoPatch
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.Timeout != nil && !s.noAdmins {
		repo.Timeout = *in.Timeout
	}
	respond(w, repo.Repo)
}

// enable takes as long as the creation of a webhook at the forge. Of two concurrent calls one
// fails.
func (s *Server) enable(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	version := repo.Version
	s.mu.Unlock()
	select {
	case <-time.After(20 * time.Millisecond):
	case <-r.Context().Done():
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != repo.Version {
		fail(w, http.StatusInternalServerError, "Optimistic Lock Error")
		return
	}
	repo.Active = true
	repo.Version++
	respond(w, repo.Repo)
}

// start responds like Drone: null if no pipeline matches the event, 404 for an unknown commit, 500
// if there is no configuration, and 200 with status error for an invalid configuration.
func (s *Server) start(w http.ResponseWriter, r *http.Request, login string, repo *Repository) {
	query := r.URL.Query()
	branch, ref := query.Get("branch"), "refs/heads/"+query.Get("branch")
	if strings.HasPrefix(branch, "refs/") {
		ref = branch
	}
	b := drone.Build{
		Event: "custom", Trigger: login, Sender: login, Target: branch, Source: branch, Ref: ref,
		Action: query.Get("action"),
		After:  s.o.Commit(repo.Slug, branch, query.Get("commit")), Params: map[string]string{},
	}
	for name := range query {
		if name != "commit" && name != "branch" && name != "access_token" {
			b.Params[name] = query.Get(name)
		}
	}
	if b.After == "" {
		fail(w, http.StatusNotFound, "Commit not found")
		return
	}
	created, err := s.create(repo, b)
	s.mu.Lock()
	lose := s.loseResponse
	s.loseResponse = false
	s.mu.Unlock()
	switch {
	case lose:
		panic(http.ErrAbortHandler)
	case err != nil:
		fail(w, http.StatusInternalServerError, err.Error())
	default:
		respond(w, created)
	}
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	size, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	size = max(size, 25)
	all := []*drone.Build{}
	for i := len(repo.builds) - 1 - (max(page, 1)-1)*size; i >= 0 && len(all) < size; i-- {
		listed := repo.builds[i].shown()
		listed.Stages = nil
		all = append(all, listed)
	}
	respond(w, all)
}

func (s *Server) build(w http.ResponseWriter, r *http.Request, repo *Repository) *build {
	for _, b := range repo.builds {
		if strconv.FormatInt(b.Number, 10) == r.PathValue("n") {
			return b
		}
	}
	fail(w, http.StatusNotFound, "Not Found")
	return nil
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.build(w, r, repo); b != nil {
		respond(w, b.shown())
	}
}

// log returns the lines of finished steps, and 404 for steps that are running or were skipped.
func (s *Server) log(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.build(w, r, repo)
	if b == nil {
		return
	}
	step, err := strconv.Atoi(r.PathValue("b"))
	if err != nil || step < 1 || step > len(b.lines) || !b.over[step-1] {
		fail(w, http.StatusNotFound, "sql: no rows in result set")
		return
	}
	lines := []drone.Line{}
	for i, text := range b.lines[step-1] {
		lines = append(lines, drone.Line{Number: i, Message: text + "\n"})
	}
	respond(w, lines)
}

// shown returns a copy that the caller may keep.
func (b *build) shown() *drone.Build {
	c := b.Build
	c.Stages = nil
	for _, stage := range b.Stages {
		copied := *stage
		copied.Steps = nil
		for _, step := range stage.Steps {
			one := *step
			copied.Steps = append(copied.Steps, &one)
		}
		c.Stages = append(c.Stages, &copied)
	}
	return &c
}

func respond(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // an error means that the client closed the connection
}

func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error means that the client closed the connection.
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}
