package runnertest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/runner/source/sourcetest"
	"slipway/runner/spec"
)

const buildsPath = "/runner/v1/builds/"

// A Gateway serves the runner protocol of package spec, and a git proxy for one repository. It stores the
// reports of runners. It is safe for concurrent use.
type Gateway struct {
	*Server
	git  *httputil.ReverseProxy
	spec func(Build, int) spec.Spec // returns the spec of an attempt

	mu       sync.Mutex
	builds   []Build
	attempts map[string][]*attempt // by build id, in order
	permits  map[string]int64      // number of the newest build that got a permit, by ref
	relink   bool
}

// A Build is one push of the repository.
type Build struct {
	ID     string
	Number int64
	Ref    string // full name
	Commit string
}

// A Stage is a stage of an attempt as the runner reported it.
type Stage struct {
	Name       string
	Detail     string
	StartedAt  time.Time
	FinishedAt time.Time
}

// An Attempt is one attempt as the runner reported it. Result is set when Ended is.
type Attempt struct {
	Number int
	Ended  bool
	Result spec.Result
	Built  string // digest that was reported before a tag moved
	Stages []Stage
	Log    string
}

type attempt struct {
	token  string
	runner string // that claimed it; empty = none has
	seq    int64
	Attempt
}

// newGateway serves builds of a repository. specOf returns the spec of an attempt.
func newGateway(t testing.TB, remote *sourcetest.Remote, specOf func(Build, int) spec.Spec) *Gateway {
	t.Helper()
	upstream, err := url.Parse(remote.URL)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{spec: specOf, attempts: map[string][]*attempt{}, permits: map[string]int64{}}
	g.git = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		_, rest, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/git/"), "/")
		r.SetURL(upstream)
		r.Out.URL.Path = "/app/.git/" + rest
		login := sourcetest.Credential()
		r.Out.SetBasicAuth(login.Username, login.Password.Reveal())
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+buildsPath+"{id}/{action}", g.serveRunner)
	mux.HandleFunc("/git/{id}/{path...}", g.serveGit)
	g.Server = newServer(t, mux)
	return g
}

// BuildURL returns the address of a build's runner protocol.
func (g *Gateway) BuildURL(id string) string { return g.URL + buildsPath + id }

// add adds a build.
func (g *Gateway) add(ref, commit string) Build {
	g.mu.Lock()
	defer g.mu.Unlock()
	number := int64(len(g.builds) + 1)
	b := Build{ID: fmt.Sprintf("b%d", number), Number: number, Ref: ref, Commit: commit}
	g.builds = append(g.builds, b)
	return b
}

// Start starts the next attempt of a build and returns its token.
func (g *Gateway) Start(b Build) (token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	token = "runner-token-" + rand.Text()
	a := &attempt{token: token, Attempt: Attempt{Number: len(g.attempts[b.ID]) + 1}}
	g.attempts[b.ID] = append(g.attempts[b.ID], a)
	return token
}

// Cancel ends the running attempt of a build like a user's cancel.
func (g *Gateway) Cancel(b Build) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.attempts[b.ID]
	last := all[len(all)-1]
	last.Ended = true
	last.Result = spec.Result{State: spec.Cancelled, Reason: "user"}
}

// RefuseGit makes the git proxy respond as one whose linked account Bitbucket does not accept.
func (g *Gateway) RefuseGit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.relink = true
}

// Attempts returns the attempts of a build so far, in order.
func (g *Gateway) Attempts(b Build) (all []Attempt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.attempts[b.ID] {
		one := a.Attempt
		one.Stages = slices.Clone(one.Stages)
		all = append(all, one)
	}
	return all
}

// Last returns the newest attempt of a build.
func (g *Gateway) Last(b Build) Attempt {
	all := g.Attempts(b)
	return all[len(all)-1]
}

// serveRunner handles one request of the runner protocol.
func (g *Gateway) serveRunner(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, spec.MaxBody))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b, a := g.find(r)
	switch {
	case a == nil:
		fail(w, http.StatusUnauthorized, "unknown token")
	case a.Ended:
		fail(w, http.StatusGone, "the attempt is over")
	default:
		g.act(w, r, b, a, body)
	}
}

// find returns the attempt that the request's token belongs to; nil = it belongs to none.
func (g *Gateway) find(r *http.Request) (Build, *attempt) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, b := range g.builds {
		if b.ID != r.PathValue("id") {
			continue
		}
		for _, a := range g.attempts[b.ID] {
			if a.token == token {
				return b, a
			}
		}
	}
	return Build{}, nil
}

func (g *Gateway) act(w http.ResponseWriter, r *http.Request, b Build, a *attempt, body []byte) {
	switch r.PathValue("action") {
	case "claim":
		runner := decode[spec.ClaimRequest](body).RunnerID
		if a.runner != "" && a.runner != runner {
			fail(w, http.StatusConflict, "another runner has claimed this attempt")
			return
		}
		a.runner = runner
		_ = spec.EncodeSpec(w, g.spec(b, a.Number))
	case "events":
		a.record(decode[spec.EventsRequest](body).Events)
		reply(w, spec.EventsReply{Seq: a.seq})
	case "log":
		a.appendLog(w, r, body)
	case "permit":
		reply(w, g.permit(b))
	case "finish":
		a.Ended, a.Result = true, decode[spec.Result](body)
		w.WriteHeader(http.StatusNoContent)
	default:
		fail(w, http.StatusNotFound, "no such action")
	}
}

// record keeps events that are new.
func (a *attempt) record(events []spec.Event) {
	for _, e := range events {
		if e.Seq != a.seq+1 {
			continue
		}
		a.seq = e.Seq
		switch e.Kind {
		case spec.StageStarted:
			a.Stages = append(a.Stages, Stage{Name: e.Stage, StartedAt: e.At})
		case spec.StageFinished:
			last := &a.Stages[len(a.Stages)-1]
			last.Detail, last.FinishedAt = e.Detail, e.At
		case spec.Built:
			a.Built = e.Digest
		}
	}
}

func (a *attempt) appendLog(w http.ResponseWriter, r *http.Request, body []byte) {
	offset, err := strconv.Atoi(r.URL.Query().Get("offset"))
	if err != nil {
		fail(w, http.StatusBadRequest, "offset is not a number")
		return
	}
	if offset > len(a.Log) {
		w.WriteHeader(http.StatusConflict)
	} else if skip := len(a.Log) - offset; skip < len(body) {
		a.Log += string(body[skip:])
	}
	reply(w, spec.LogReply{Size: int64(len(a.Log))})
}

// permit refuses a build if a newer one of its ref has had a permit.
func (g *Gateway) permit(b Build) spec.PermitReply {
	if newest := g.permits[b.Ref]; newest > b.Number {
		return spec.PermitReply{Reason: fmt.Sprintf("build %d is newer", newest)}
	}
	g.permits[b.Ref] = b.Number
	return spec.PermitReply{Granted: true}
}

// serveGit passes a fetch on to the repository, with the repository's credential.
func (g *Gateway) serveGit(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	_, a := g.find(r)
	known, relink := a != nil && !a.Ended, g.relink
	g.mu.Unlock()
	switch {
	case !known:
		http.Error(w, "this address needs the token of a running attempt", http.StatusForbidden)
	case relink:
		http.Error(
			w,
			"Bitbucket does not accept the linked account: link the account again under Settings, Source providers",
			http.StatusBadGateway,
		)
	default:
		g.git.ServeHTTP(w, r)
	}
}

func fail(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	reply(w, spec.ErrorReply{Error: message})
}

func reply(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// decode reads a request. A malformed one is the zero value, because the tests of package report check
// the form.
func decode[T any](body []byte) (v T) {
	_ = json.Unmarshal(body, &v)
	return v
}
