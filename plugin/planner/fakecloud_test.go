package planner_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/planner/plannertest"
)

// fakeCloud serves the part of Bitbucket Cloud's API that the planner reads, for one repository
// without git. It makes tests with tens of thousands of pushes fast; bitbuckettest uses real git.
type fakeCloud struct {
	mux     http.ServeMux
	commits []string
	heads   map[string]string // by full name
	earlier map[string]string // heads before the last push
	script  []listEvent       // of the next requests for refs; see disorder_lists_test.go
	happens func(listEvent)   // changes the repository before a request is answered
}

type object = map[string]any

var fakeRepository = autobuild.Repository{ID: "{app}", WorkspaceID: "{acme}", FullName: "acme/app"}

// newFakeCloudEnv returns an Env whose API client calls a fakeCloud.
func newFakeCloudEnv(t *testing.T) (*plannertest.Env, *fakeCloud) {
	t.Helper()
	p := &fakeCloud{heads: map[string]string{}}
	for _, digit := range []string{"a", "b", "c", "d", "e"} {
		p.commits = append(p.commits, strings.Repeat(digit, 40))
	}
	p.route()
	w := plannertest.NewStore(t)
	w.Repo = fakeRepository
	w.OpenAPI("https://api.bitbucket.example.com", secret.New("token"), p)
	return w, p
}

func (p *fakeCloud) route() {
	const repository = "GET /2.0/repositories/{workspace}/{name}"
	p.mux.HandleFunc(repository, func(w http.ResponseWriter, _ *http.Request) { reply(w, shownRepository()) })
	p.mux.HandleFunc(repository+"/commit/{hash}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, object{"hash": r.PathValue("hash")}) // the planner requests pushed commits only
	})
	p.mux.HandleFunc(repository+"/commits", p.listCommits)
	for kind, prefix := range map[string]string{"branches": "refs/heads/", "tags": "refs/tags/"} {
		p.mux.HandleFunc(repository+"/refs/"+kind, func(w http.ResponseWriter, r *http.Request) {
			p.list(w, r, prefix)
		})
		p.mux.HandleFunc(repository+"/refs/"+kind+"/{ref}", func(w http.ResponseWriter, r *http.Request) {
			if p.next().Fault == "fail" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			head, ok := p.heads[prefix+r.PathValue("ref")]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
			}
			reply(w, object{"name": r.PathValue("ref"), "target": object{"hash": head}})
		})
	}
}

// listCommits answers `git log include ^exclude` with the first commit, if there is one.
func (p *fakeCloud) listCommits(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	include, exclude := query.Get("include"), query.Get("exclude")
	if !slices.Contains(p.commits, include) || !slices.Contains(p.commits, exclude) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	values := []object{}
	if include != exclude && !isBefore(p.commits, include, exclude) {
		values = append(values, object{"hash": include})
	}
	reply(w, object{"values": values})
}

// isBefore reports whether commit a is an ancestor of b, and another one. The commits are on one line in their
// order, except the last one, which is unrelated.
func isBefore(commits []string, a, b string) bool {
	first, second := slices.Index(commits, a), slices.Index(commits, b)
	return first >= 0 && first < second && second < len(commits)-1
}

func reply(w http.ResponseWriter, o object) { _ = json.NewEncoder(w).Encode(o) }

func shownRepository() object {
	return object{"uuid": fakeRepository.ID, "full_name": fakeRepository.FullName,
		"workspace": object{"uuid": fakeRepository.WorkspaceID}}
}

func (p *fakeCloud) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response := httptest.NewRecorder()
	p.mux.ServeHTTP(response, r)
	return response.Result(), nil
}

// push moves refs, and returns the payloads of two webhooks.
func (p *fakeCloud) push(to map[string]string) [][]byte {
	changes := []object{}
	p.earlier = maps.Clone(p.heads)
	for _, ref := range slices.Sorted(maps.Keys(to)) {
		changes = append(changes, object{"old": shownRef(ref, p.heads[ref]), "new": shownRef(ref, to[ref])})
		p.heads[ref] = to[ref]
		if to[ref] == "" {
			delete(p.heads, ref)
		}
	}
	body, _ := json.Marshal(object{"push": object{"changes": changes}, "repository": shownRepository()}) // maps of text
	return [][]byte{body, body}
}

func shownRef(full, head string) any {
	if head == "" {
		return nil
	}
	ref := refOf(full)
	return object{"type": string(ref.Kind), "name": ref.Name, "target": object{"hash": head, "message": ""}}
}
