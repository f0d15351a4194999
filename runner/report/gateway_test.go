package report_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/secret"
	"slipway/runner/report"
	"slipway/runner/spec"
)

const token = "token-canary"

// A gateway implements the runner protocol, and fails as a test configures it.
type gateway struct {
	*httptest.Server
	mu      sync.Mutex
	fail    func(path string) int // a status in place of a response; 0 = no fault
	claims  []spec.ClaimRequest
	events  []spec.Event
	beats   int
	most    int // events of one request
	cancel  string
	log     []byte
	forget  int // bytes of the log that it loses at the next request
	permits []spec.PermitRequest
	results []spec.Result
	changed chan struct{}
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{changed: make(chan struct{}, 1)}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.signal()
	path := strings.TrimPrefix(r.URL.Path, "/runner/v1/builds/b1/")
	if r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if g.fail != nil {
		if status := g.fail(path); status != 0 {
			w.Header().Set("Location", "/elsewhere")
			if status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "1")
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":"because"}`)
			return
		}
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, spec.MaxBody))
	g.respond(w, r, path, body)
}

func (g *gateway) respond(w http.ResponseWriter, r *http.Request, path string, body []byte) {
	switch path {
	case "claim":
		g.claims = append(g.claims, read[spec.ClaimRequest](body))
		_ = spec.EncodeSpec(w, spec.Spec{
			BuildID: "b1",
			Registries: []spec.RegistryCredential{
				{Host: "r", Credential: spec.Credential{Username: "u", Password: secret.New("p")}},
			},
		})
	case "events":
		g.beats++
		request := read[spec.EventsRequest](body)
		g.most = max(g.most, len(request.Events))
		for _, e := range request.Events {
			if e.Seq == int64(len(g.events))+1 {
				g.events = append(g.events, e)
			}
		}
		reply(w, spec.EventsReply{Seq: int64(len(g.events)), Cancel: g.cancel != "", Reason: g.cancel})
	case "log":
		g.appendLog(w, r, body)
	case "permit":
		g.permits = append(g.permits, read[spec.PermitRequest](body))
		reply(w, spec.PermitReply{Granted: true})
	case "finish":
		g.results = append(g.results, read[spec.Result](body))
		w.WriteHeader(http.StatusNoContent)
	}
}

func (g *gateway) appendLog(w http.ResponseWriter, r *http.Request, body []byte) {
	g.log = g.log[:len(g.log)-g.forget]
	g.forget = 0
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	if offset > len(g.log) {
		w.WriteHeader(http.StatusConflict)
	} else if skip := len(g.log) - offset; skip < len(body) {
		g.log = append(g.log, body[skip:]...)
	}
	reply(w, spec.LogReply{Size: int64(len(g.log))})
}

func (g *gateway) signal() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// with runs f while the gateway handles no request.
func (g *gateway) with(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// until waits until ok returns true. It checks after each request.
func (g *gateway) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	over := time.NewTimer(10 * time.Second)
	defer over.Stop()
	for {
		g.mu.Lock()
		done := ok()
		g.mu.Unlock()
		if done {
			return
		}
		select {
		case <-g.changed:
		case <-over.C:
			t.Fatalf("%s: got nothing in 10 s, want it", what)
		}
	}
}

func (g *gateway) client() *report.Client {
	return report.New(report.Options{
		URL:       g.URL + "/runner/v1/builds/b1",
		Token:     secret.New(token),
		Version:   "test",
		Heartbeat: 5 * time.Millisecond,
		Patience:  5 * time.Second,
		Backoff:   func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) },
	})
}

func read[T any](body []byte) (v T) {
	if err := json.Unmarshal(body, &v); err != nil {
		panic(err)
	}
	return v
}

func reply(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
