package drone_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/pipeline"
)

// An extensionRequest is a request as Drone sends it, for tests to change.
type extensionRequest struct {
	kind   string
	body   []byte
	key    string
	at     time.Time
	accept string
}

// requestFor returns a request about a build of a new repository that was just started.
func (e *env) requestFor(t *testing.T, kind, repository string) extensionRequest {
	t.Helper()
	a := e.startedOf(t, strings.ReplaceAll(repository, " ", "-"))
	r := e.server.Repository("acme/builder")
	all := e.server.Builds(r)
	body := map[string]any{
		"build": all[len(all)-1], "repo": r.Repo,
		"token": map[string]string{"access": "forge-access"}, "event": "build", "action": "updated",
		"path": "slipway", "name": "runner_token",
	}
	if a.EngineRef != fmt.Sprintf("acme/builder#%d", len(all)) {
		t.Fatalf("pipeline: got %s, want %s", a.EngineRef, fmt.Sprintf("acme/builder#%d", len(all)))
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	accept := ""
	if kind != "webhook" {
		accept = "application/vnd.drone." + kind + ".v1+json"
	}
	return extensionRequest{kind: kind, body: text, key: secrets()[kind].Reveal(), at: time.Now(), accept: accept}
}

// request returns the signed request.
func (v extensionRequest) request(t testing.TB, gateway string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, gateway+"/extensions/drone/"+v.kind, bytes.NewReader(v.body))
	if err != nil {
		t.Fatal(err)
	}
	if v.accept != "" {
		req.Header.Set("Accept", v.accept)
		req.Header.Set("Accept-Encoding", "identity")
	}
	dronetest.Sign(req, v.body, v.key, v.at)
	return req
}

func send(t testing.TB, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// quiet returns an env whose server requests only configurations. The test sends the other
// requests.
func quiet(t *testing.T) *env {
	e := newEnv(t, drone.Options{Repository: "acme/builder"})
	e.server.AddRepository("acme/builder", "main")
	e.server.Hold()
	ext := extensions(e.gateway, secrets())
	ext.Webhook = dronetest.Extension{}
	e.server.SetExtensions(ext)
	return e
}

// wantGood checks an extension's response to a valid request.
func wantGood(t *testing.T, kind string, status int, body string) {
	t.Helper()
	want := map[string]string{"config": "kind: pipeline", "secret": `"data":"`, "webhook": ""}[kind]
	if wantStatus := map[string]int{"config": 200, "secret": 200, "webhook": 204}[kind]; status != wantStatus ||
		!strings.Contains(body, want) {
		t.Errorf("%s: got status %d %s, want %d with %q", kind, status, body, wantStatus, want)
	}
}

// Each case is a weakness of drone-go's own handlers. It is tested at each extension.
func TestAnInvalidSignatureIsRefused(t *testing.T) {
	headers := func(names ...string) func(*http.Request, extensionRequest) {
		return func(r *http.Request, v extensionRequest) { dronetest.SignHeaders(r, v.key, names...) }
	}
	for name, c := range map[string]struct {
		change   func(*extensionRequest)
		after    func(*http.Request, extensionRequest)
		status   int
		wantText string
	}{
		"body changed": {
			after:  func(r *http.Request, _ extensionRequest) { setBody(r, `{"event":"build"}`) },
			status: 401, wantText: "header Digest does not match the body",
		},
		"an old one": {
			change: func(v *extensionRequest) { v.at = v.at.Add(-6 * time.Minute) }, status: 401,
			wantText: "check both clocks",
		},
		"one of tomorrow": {
			change: func(v *extensionRequest) { v.at = v.at.Add(24 * time.Hour) }, status: 401,
			wantText: "check both clocks",
		},
		"date alone is signed":   {after: headers("date"), status: 401, wantText: "does not cover digest"},
		"digest alone is signed": {after: headers("digest"), status: 401, wantText: "does not cover date"},
		"no header is signed":    {after: headers(), status: 401, wantText: "does not have Drone's form"},
		"another extension's key": {change: func(v *extensionRequest) {
			other := map[string]string{"config": "secret", "secret": "webhook", "webhook": "config"}[v.kind]
			v.key = secrets()[other].Reveal()
		}, status: 400, wantText: "invalid signature"},
		"an empty key": {
			change: func(v *extensionRequest) { v.key = "" }, status: 400, wantText: "invalid signature",
		},
		"no signature": {
			after:  func(r *http.Request, _ extensionRequest) { r.Header.Del("Signature") },
			status: 401, wantText: "got 0 headers Signature",
		},
		"two signatures": {
			after:  func(r *http.Request, _ extensionRequest) { r.Header.Add("Signature", r.Header.Get("Signature")) },
			status: 401, wantText: "got 2 headers",
		},
		"two dates": {
			after:  func(r *http.Request, _ extensionRequest) { r.Header.Add("Date", time.Now().Format(http.TimeFormat)) },
			status: 401, wantText: "got 2 headers Date",
		},
		"two digests": {
			after:  func(r *http.Request, _ extensionRequest) { r.Header.Add("Digest", "SHA-256=x") },
			status: 401, wantText: "got 2 headers Digest",
		},
		"as authorization": {after: func(r *http.Request, _ extensionRequest) {
			r.Header.Set("Authorization", "Signature "+r.Header.Get("Signature"))
			r.Header.Del("Signature")
		}, status: 401, wantText: "got 0 headers"},
		"SHA-1": {
			after: replaceSignature("hmac-sha256", "hmac-sha1"), status: 401, wantText: "does not have Drone's form",
		},
		"a key twice": {
			after: replaceSignature(`keyId=`, `signature="x",keyId=`), status: 401, wantText: "does not have Drone's form",
		},
		"no date": {after: func(r *http.Request, v extensionRequest) {
			r.Header.Set("Date", "soon")
			dronetest.SignHeaders(r, v.key, "date", "digest")
		}, status: 401, wantText: "header Date is not a date"},
		"long": {
			change: func(v *extensionRequest) { v.body = append(v.body, bytes.Repeat([]byte(" "), 1<<20)...) },
			status: 413, wantText: "too large",
		},
		"no JSON": {change: func(v *extensionRequest) { v.body = []byte("{") }, status: 400, wantText: "invalid input"},
		"date replaced": {after: func(r *http.Request, _ extensionRequest) {
			r.Header.Set("Date", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
		}, status: 400, wantText: "invalid signature"},
	} {
		t.Run(name, func(t *testing.T) {
			e := quiet(t)
			for _, kind := range []string{"config", "secret", "webhook"} {
				v := e.requestFor(t, kind, name+kind)
				unchanged := v
				if c.change != nil {
					c.change(&v)
				}
				req := v.request(t, e.gateway)
				if c.after != nil {
					c.after(req, v)
				}
				status, body := send(t, req)
				if status != c.status {
					t.Errorf("%s: got status %d, want %d", kind, status, c.status)
				}
				if strings.Contains(body, "kind:") || strings.Contains(body, `"data"`) {
					t.Errorf("%s: got %s, want no content", kind, body)
				}
				if got := e.finding(t, kind).Problem; !strings.Contains(got, c.wantText) {
					t.Errorf("%s: got the problem %q, want %q", kind, got, c.wantText)
				}
				status, body = send(t, unchanged.request(t, e.gateway))
				wantGood(t, kind, status, body)
				if got := e.finding(t, kind); got.Problem != "" {
					t.Errorf("problem of %s for a good body: got %q, want none", kind, got.Problem)
				}
			}
		})
	}
}

func setBody(r *http.Request, text string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
}

func replaceSignature(from, to string) func(*http.Request, extensionRequest) {
	return func(r *http.Request, _ extensionRequest) {
		r.Header.Set("Signature", strings.Replace(r.Header.Get("Signature"), from, to, 1))
	}
}

// finding returns the finding of one extension.
func (e *env) finding(t testing.TB, kind string) pipeline.Finding {
	t.Helper()
	for _, f := range e.Inspect(t.Context()) {
		if f.Subject == kind+" extension" {
			return f
		}
	}
	t.Fatalf("finding about %s: got none, want one", kind)
	return pipeline.Finding{}
}

func TestAClockMayDifferByMinutes(t *testing.T) {
	e := quiet(t)
	for i, off := range []time.Duration{-4 * time.Minute, 4 * time.Minute} {
		v := e.requestFor(t, "config", fmt.Sprint("clock-", i))
		v.at = v.at.Add(off)
		status, body := send(t, v.request(t, e.gateway))
		wantGood(t, v.kind, status, body)
	}
}

// A recorded request is refused when it is repeated, and a repeated webhook has no effect.
func TestAReplayIsRefused(t *testing.T) {
	e := quiet(t)
	for _, kind := range []string{"config", "secret"} {
		v := e.requestFor(t, kind, kind)
		status, body := send(t, v.request(t, e.gateway))
		wantGood(t, kind, status, body)
		if status, body := send(t, v.request(t, e.gateway)); status != 404 ||
			strings.TrimSpace(body) != "the gateway refused the request: see its log" {
			t.Errorf("repeated %s request: got status %d %s, want 404 with a refusal", kind, status, body)
		}
		if got := e.finding(t, kind).Problem; !strings.Contains(got, "the signature was used before") {
			t.Errorf(`problem of %s: got %q, want it to contain "the signature was used before"`, kind, got)
		}
		v.at = v.at.Add(time.Second)
		status, body = send(t, v.request(t, e.gateway))
		wantGood(t, kind, status, body)
	}
	v := e.requestFor(t, "webhook", "webhook")
	for range 3 {
		status, body := send(t, v.request(t, e.gateway))
		wantGood(t, "webhook", status, body)
	}
	if n := len(e.rechecked); n != 1 {
		t.Errorf("hints: got %d, want 1", n)
	}
}

// Of many equal requests at once exactly one is accepted.
func TestOneOfManyReplaysIsAccepted(t *testing.T) {
	e := quiet(t)
	v := e.requestFor(t, "secret", "secret")
	var all sync.WaitGroup
	var mu sync.Mutex
	responses := map[int]int{}
	for range 10 {
		req := v.request(t, e.gateway)
		all.Go(func() {
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			responses[resp.StatusCode]++
		})
	}
	all.Wait()
	if !maps.Equal(responses, map[int]int{200: 1, 404: 9}) {
		t.Errorf("responses: got %v, want one 200 and nine 404", responses)
	}
}
