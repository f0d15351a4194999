package dronetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/drone/drone-go/drone"
	"github.com/drone/drone-go/plugin/config"
	"github.com/drone/drone-go/plugin/secret"
	"github.com/drone/drone-go/plugin/webhook"

	ours "slipway/config/secret"
	"slipway/plugin/engine/drone/dronetest"
)

// extensions uses drone-go's own handlers, which check that the fake signs as they expect.
type extensions struct {
	mu           sync.Mutex
	configs      []*config.Request
	secrets      []*secret.Request
	hooks        []*webhook.Request
	headers      []http.Header
	webhooksSent chan struct{} // one value for each webhook
}

func (e *extensions) Find(_ context.Context, r *config.Request) (*drone.Config, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.configs = append(e.configs, r)
	return &drone.Config{Data: own("echo runs " + r.Build.Params["ID"])}, nil
}

func (e *extensions) Deliver(_ context.Context, r *webhook.Request) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hooks = append(e.hooks, r)
	e.webhooksSent <- struct{}{}
	return nil
}

type secrets struct{ *extensions }

func (e secrets) Find(_ context.Context, r *secret.Request) (*drone.Secret, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secrets = append(e.secrets, r)
	return &drone.Secret{Data: "hush-" + r.Path + "-" + r.Name}, nil
}

// own returns a configuration with one step.
func own(lines ...string) string {
	text, _ := json.Marshal(lines) // of strings
	return "kind: pipeline\ntype: exec\nname: own\nsteps:\n- name: a\n  environment: {WORD: {from_secret: " +
		"word}, OTHER: {from_secret: undeclared}, HOME: /ours, DRONE_BUILD_NUMBER: x}\n  commands: " +
		string(
			text,
		) + "\n---\nkind: secret\nname: word\nget: {path: p, name: n}\n"
}

func open(t *testing.T, o dronetest.Options) (*dronetest.Server, *dronetest.Repository) {
	t.Helper()
	o.Commit = func(_, _, commit string) string {
		if commit == "" {
			commit = "cafe"
		}
		return commit
	}
	s := dronetest.New(o)
	t.Cleanup(s.Close)
	return s, s.AddRepository("acme/app", "main")
}

func extended(t *testing.T, s *dronetest.Server) *extensions {
	t.Helper()
	e := &extensions{webhooksSent: make(chan struct{}, 100)}
	mux := http.NewServeMux()
	mux.Handle("/config", config.Handler(e, "c", nil))
	mux.Handle("/secret", secret.Handler("s", secrets{e}, nil))
	mux.Handle("/webhook", webhook.Handler(e, "w", nil))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.headers = append(e.headers, r.Header.Clone())
		e.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.SetExtensions(dronetest.Extensions{
		Config:  dronetest.Extension{URL: server.URL + "/config", Secret: ours.New("c")},
		Secret:  dronetest.Extension{URL: server.URL + "/secret", Secret: ours.New("s")},
		Webhook: dronetest.Extension{URL: server.URL + "/webhook", Secret: ours.New("w")},
	})
	return e
}

func wait(t *testing.T, s *dronetest.Server, r *dronetest.Repository, number int64) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	status, err := s.Wait(ctx, r, number)
	if err != nil {
		t.Fatalf("status of build %d: got %s, want a final one", number, status)
	}
	return status
}

func TestTheStockHandlersTakeWhatIsSent(t *testing.T) {
	s, r := open(t, dronetest.Options{})
	e := extended(t, s)
	b, err := s.Custom(r, "slipway", map[string]string{"ID": "one"})
	if err != nil || b.Number != 1 {
		t.Fatal(b, err)
	}
	e.mu.Lock()
	webhooksSent := len(e.hooks)
	e.mu.Unlock()
	if webhooksSent == 0 {
		t.Error("start: got a return before the webhook, want one after it")
	}
	if status := wait(t, s, r, 1); status != "success" || !strings.Contains(s.Log(r, 1), "runs one") {
		t.Errorf(`build: got status %s and log %s, want success and "runs one"`, status, s.Log(r, 1))
	}
	if len(e.configs) != 1 || e.configs[0].Build.Number != 0 {
		t.Errorf("requests for the configuration: got %d, want one without a build number", len(e.configs))
	}
	switch {
	case len(e.secrets) != 1:
		t.Errorf("requests for secrets: got %d, want 1", len(e.secrets))
	case e.secrets[0].Build.Number != 1:
		t.Errorf("secrets: got %d requests without build 1 first, want it first", len(e.secrets))
	case e.secrets[0].Path != "p":
		t.Errorf(`secrets: got %d requests without path "p" first, want it first`, len(e.secrets))
	}
	for _, h := range e.headers {
		want := `headers="accept accept-encoding content-type date digest"`
		if h.Get("X-Drone-Event") != "" {
			want = `headers="date digest"`
		}
		if !strings.HasSuffix(h.Get("Signature"), want) {
			t.Errorf("signature: got %s, want the suffix %s", h.Get("Signature"), want)
		}
	}
}

// Drone's cache of configurations has no parameters in its key.
func TestTwoBuildsOfOneSecondAreConfusedWithoutAnAction(t *testing.T) {
	s, r := open(t, dronetest.Options{})
	e := extended(t, s)
	for tries := range 5 { // the two builds may fall into different seconds
		for i := range 2 {
			if _, err := s.Custom(r, "slipway", map[string]string{"ID": fmt.Sprint("n", 2*tries+i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := range int64(10) {
		wait(t, s, r, n+1)
	}
	if len(e.configs) >= 10 {
		t.Error("build with another build's configuration: got none, want one")
	}
}

func TestAStepsEnvironment(t *testing.T) {
	s, r := open(t, dronetest.Options{Environ: []string{"PATH=" + os.Getenv("PATH"), "WHO=runner", "RUNNER=yes"}})
	s.SetConfig(r, own(`echo "$WHO|$RUNNER|$CI|$HOME|$DRONE_BUILD_NUMBER|$WORD|$OTHER|${ID}|$$ID|$DRONE_TAG"`))
	params := map[string]string{"ID": "i", "WHO": "param", "CI": "no", "HOME": "no", "DRONE_BUILD_NUMBER": "9"}
	if _, err := s.Custom(r, "slipway", params); err != nil {
		t.Fatal(err)
	}
	status := wait(t, s, r, 1)
	if log := s.Log(r, 1); status != "success" || !strings.Contains(log, "\nparam|yes|true|/ours|1|||i|i|\n") {
		t.Errorf("build: got status %s and log %s, want success and the parameters", status, log)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	s, r := open(t, dronetest.Options{})
	extended(t, s)
	if _, err := s.Custom(r, "slipway", map[string]string{"ID": "$WORD"}); err != nil {
		t.Fatal(err)
	}
	status := wait(t, s, r, 1)
	if log := s.Log(r, 1); status != "success" || !strings.Contains(log, "\nruns [secret]\n") {
		t.Errorf("build: got status %s and log %s, want success and the masked secret", status, log)
	}
}

func TestBuildsRunInOrderWithinCapacity(t *testing.T) {
	s, r := open(t, dronetest.Options{Capacity: 1})
	dir := t.TempDir()
	s.SetConfig(r, own(`echo $ID >> `+filepath.Join(dir, "order")))
	s.Hold()
	for i := range 5 {
		if _, err := s.Custom(r, "slipway", map[string]string{"ID": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range s.Builds(r) {
		if b.Status != "pending" {
			t.Errorf("state of build %d: got %s, want pending", b.Number, b.Status)
		}
	}
	s.Release()
	wait(t, s, r, 5)
	if got, err := os.ReadFile(filepath.Join(dir, "order")); string(got) != "0\n1\n2\n3\n4\n" {
		t.Errorf("commands: got %q, error %v, want 0 to 4 in order", got, err)
	}
}

// A pipeline of a type without a runner waits, and does not block others.
func TestAPipelineWithoutItsRunnerWaits(t *testing.T) {
	s, r := open(t, dronetest.Options{})
	s.SetConfig(r, "kind: pipeline\ntype: docker\nname: own\nsteps: [{name: a, image: x}]")
	if _, err := s.Push(r, "main", "cafe"); err != nil {
		t.Fatal(err)
	}
	s.SetConfig(r, own("true"))
	if _, err := s.Push(r, "main", "beef"); err != nil {
		t.Fatal(err)
	}
	wait(t, s, r, 2)
	if got := s.Builds(r)[0].Status; got != "pending" {
		t.Errorf("state: got %s, want pending", got)
	}
}

// A cancel kills the shell but not its children. A cancel may also be lost.
func TestCancels(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		lost   bool
	}{
		"children live on": {"(read x <go; echo lives >done) >/dev/null 2>&1 & echo ready >done; read y <never", false},
		"a lost one":       {"echo ready >done; read x <go; echo lives >done", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := open(t, dronetest.Options{})
			dir := t.TempDir()
			begin, done := fifo(t, dir, "go"), fifo(t, dir, "done")
			fifo(t, dir, "never")
			s.SetConfig(r, own("cd "+dir, c.script))
			if c.lost {
				s.LoseCancels()
			}
			if _, err := s.Push(r, "main", "cafe"); err != nil {
				t.Fatal(err)
			}
			expect(t, done, "ready\n")
			if got := kill(t, s, 1); got != "killed" {
				t.Errorf("state in the response: got %s, want killed", got)
			}
			if !c.lost {
				wait(t, s, r, 1)
			}
			if _, err := begin.WriteString("go\n"); err != nil {
				t.Fatal(err)
			}
			expect(t, done, "lives\n")
			if got := wait(t, s, r, 1); got != "killed" {
				t.Errorf("state: got %s, want killed", got)
			}
			if got := kill(t, s, 1); got != "killed" {
				t.Errorf("state after a second cancel: got %s, want killed", got)
			}
		})
	}
}

// fifo opens a named pipe in both directions, so that no open waits for the other side.
func fifo(t *testing.T, dir, name string) *os.File {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return f
}

func expect(t *testing.T, f *os.File, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f, got); err != nil || string(got) != want {
		t.Fatalf("response: got %q, error %v, want %q", got, err, want)
	}
}

// kill cancels a build and returns the status in the response.
func kill(t *testing.T, s *dronetest.Server, number int) string {
	t.Helper()
	req := httptest.NewRequest(http.MethodDelete, fmt.Sprint("/api/repos/acme/app/builds/", number), nil)
	req.Header.Set("Authorization", "Bearer "+s.AddUser("slipway").Reveal())
	respond := httptest.NewRecorder()
	s.ServeHTTP(respond, req)
	var b drone.Build
	if err := json.Unmarshal(respond.Body.Bytes(), &b); err != nil {
		t.Fatalf("%s: %v", respond.Body, err)
	}
	return b.Status
}

func TestHintsComeTwice(t *testing.T) {
	s, r := open(t, dronetest.Options{})
	e := extended(t, s)
	s.SendTwice()
	if _, err := s.Custom(r, "slipway", nil); err != nil {
		t.Fatal(err)
	}
	late := time.After(30 * time.Second)
	for i := range 6 {
		select {
		case <-e.webhooksSent:
		case <-late:
			t.Fatalf("webhooks: got %d, want created, running and success, each twice", i)
		}
	}
}
