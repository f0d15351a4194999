package dronetest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"
)

// version is what v2.28.2 calls itself.
const version = "2.28.1"

func (s *Server) route() {
	s.mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"source": "https://github.com/drone/drone", "version": version})
	})
	s.mux.HandleFunc("GET /varz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"license": map[string]any{"kind": "trial", "seats": 0, "repos": 0, "expire_at": "0001-01-01T00:00:00Z"}})
	})
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request, string){
		"GET /api/user": func(w http.ResponseWriter, _ *http.Request, login string) {
			answer(w, drone.User{Login: login, Admin: true})
		},
		"GET /api/system/stats":                                 func(w http.ResponseWriter, _ *http.Request, _ string) { answer(w, map[string]any{}) },
		"POST /api/user/repos":                                  s.sync,
		"GET /api/repos/{owner}/{name}":                         s.inRepo(s.showRepo),
		"POST /api/repos/{owner}/{name}":                        s.inRepo(s.enable),
		"POST /api/repos/{owner}/{name}/builds":                 s.inRepo(s.start),
		"GET /api/repos/{owner}/{name}/builds":                  s.inRepo(s.list),
		"GET /api/repos/{owner}/{name}/builds/{n}":              s.inRepo(s.show),
		"DELETE /api/repos/{owner}/{name}/builds/{n}":           s.inRepo(s.kill),
		"GET /api/repos/{owner}/{name}/builds/{n}/logs/{a}/{b}": s.inRepo(s.log),
	} {
		s.mux.HandleFunc(pattern, s.authenticated(h))
	}
}

// ServeHTTP serves the API.
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

func (s *Server) inRepo(h func(http.ResponseWriter, *http.Request, string, *Repository)) func(http.ResponseWriter, *http.Request, string) {
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

// sync makes known what the forge has shown since.
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
	answer(w, all)
}

func (s *Server) showRepo(w http.ResponseWriter, _ *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := repo.Repo
	shown.Secret = ""
	answer(w, shown)
}

// enable takes the time that a webhook at the forge takes. Of two at once one fails.
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
	answer(w, repo.Repo)
}

// start answers as the real one does: null when nothing matched, 404 for a commit that is not
// there, 500 when no configuration was found, 200 with status error for one that cannot run.
func (s *Server) start(w http.ResponseWriter, r *http.Request, login string, repo *Repository) {
	query := r.URL.Query()
	branch, ref := query.Get("branch"), "refs/heads/"+query.Get("branch")
	if strings.HasPrefix(branch, "refs/") {
		ref = branch
	}
	b := drone.Build{
		Event: "custom", Trigger: login, Sender: login, Target: branch, Source: branch, Ref: ref, Action: query.Get("action"),
		After: s.o.Commit(repo.Slug, branch, query.Get("commit")), Params: map[string]string{},
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
	lose := s.loseAnswer
	s.loseAnswer = false
	s.mu.Unlock()
	switch {
	case lose:
		panic(http.ErrAbortHandler)
	case err != nil:
		fail(w, http.StatusInternalServerError, err.Error())
	default:
		answer(w, created)
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
	answer(w, all)
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
		answer(w, b.shown())
	}
}

// log has lines of steps that are over, and none of those that run or were skipped.
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
	answer(w, lines)
}

// shown is a copy for others to keep.
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

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // who hung up does not want it
}

func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // who hung up does not want it
}
