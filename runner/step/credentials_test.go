package step_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"slipway/config/grammar"
	"slipway/config/identity"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// The registries of these tests. No request leaves the process.
const (
	hub    = "docker.io"
	houseA = "a.example.com:5000"
	houseB = "b.example.com"
)

// listeners are registries that accept every login, and note the ones that they get. Half of them ask for
// a token, and the token's realm is another host.
type listeners struct {
	mu         sync.Mutex
	registries map[string]http.Handler
	seen       map[string][]string // user names by registry
}

// RoundTrip implements http.RoundTripper.
func (l *listeners) RoundTrip(r *http.Request) (*http.Response, error) {
	served := r.Clone(r.Context())
	if r.Body == nil {
		served.Body = http.NoBody
	}
	defer func() { _ = served.Body.Close() }()
	recorder := httptest.NewRecorder()
	l.serve(recorder, served)
	response := recorder.Result()
	response.Request = r
	return response, nil
}

func (l *listeners) serve(w http.ResponseWriter, r *http.Request) {
	host := strings.TrimPrefix(r.URL.Host, "auth.")
	host = strings.Replace(host, "index.docker.io", hub, 1)
	l.note(host, r)
	switch {
	case host != r.URL.Host && strings.HasPrefix(r.URL.Host, "auth."):
		_, _ = io.WriteString(w, `{"token":"t"}`)
	case r.Header.Get("Authorization") == "":
		challenge := `Basic realm="registry"`
		if host == hub || host == houseA {
			challenge = `Bearer realm="https://auth.` + host + `/token",service="registry"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		l.registry(host).ServeHTTP(w, r)
	}
}

// note keeps the user name of a request: of Basic, or of a form for a token.
func (l *listeners) note(host string, r *http.Request) {
	user, _, basic := r.BasicAuth()
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Host, "auth.") {
		user, basic = r.PostFormValue("username"), true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if basic && user != "" {
		l.seen[host] = append(l.seen[host], user)
	}
}

// logins returns the user names by registry. The step ends before its last request does: it cancels the
// upload of a check in the background.
func (l *listeners) logins() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	copied := map[string][]string{}
	for host, users := range l.seen {
		copied[host] = slices.Clone(users)
	}
	return copied
}

func (l *listeners) registry(host string) http.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.registries[host] == nil {
		l.registries[host] = ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	}
	return l.registries[host]
}

// A combination is one value of each setting of logins.
type combination struct {
	registry string
	images   []string
	logins   [][2]string // registry and user
	config   [][2]string
}

func (c combination) String() string {
	return fmt.Sprintf("registry=%s repo=%s logins=%v config=%v", c.registry, c.images, c.logins, c.config)
}

// mainHost returns the registry of username and password, in the words of docs/migrate-step.md.
func (c combination) mainHost() string {
	if c.registry != "" {
		return c.registry
	}
	for _, image := range c.images {
		if grammar.ImageHost(image) == hub {
			return hub
		}
	}
	covered := map[string]bool{}
	for _, l := range append(c.logins, c.config...) {
		if l[1] == "main" {
			return l[0]
		}
		covered[l[0]] = true
	}
	for _, image := range c.images {
		if host := grammar.ImageHost(image); !covered[host] {
			return host
		}
	}
	return hub
}

// environ returns the settings. The password of each login is its user name.
func (c combination) environ() []string {
	all := []string{
		"PLUGIN_USERNAME=main", "PLUGIN_PASSWORD=main", "PLUGIN_REPO=" + strings.Join(c.images, ","),
		"PLUGIN_BUILDER=" + runnertest.BuilderAddress,
	}
	if c.registry != "" {
		all = append(all, "PLUGIN_REGISTRY="+dockerName(c.registry))
	}
	if c.logins != nil {
		var entries [][3]string
		for _, l := range c.logins {
			entries = append(entries, [3]string{dockerName(l[0]), l[1], l[1]})
		}
		all = append(all, logins(entries...))
	}
	var auths []string
	for _, l := range c.config {
		pair := base64.StdEncoding.EncodeToString([]byte(l[1] + ":" + l[1]))
		auths = append(auths, fmt.Sprintf(`%q:{"auth":%q}`, dockerName(l[0]), pair))
	}
	if auths != nil {
		all = append(all, `PLUGIN_CONFIG={"auths":{`+strings.Join(auths, ",")+`}}`)
	}
	return all
}

// dockerName is the name of Docker Hub in logins.
func dockerName(host string) string {
	if host == hub {
		return "https://index.docker.io/v1/"
	}
	return host
}

func combinations() (all []combination) {
	logins := [][][2]string{
		nil,
		{{hub, "main"}},
		{{hub, "hubber"}},
		{{houseA, "ada"}},
		{{houseA, "main"}},
		{{houseA, "ada"}, {houseB, "bob"}},
		{{hub, "hubber"}, {houseA, "ada"}, {houseB, "bob"}},
	}
	config := [][][2]string{nil, {{hub, "conf-hub"}}, {{houseB, "conf-b"}}, {{houseA, "main"}, {houseB, "conf-b"}}}
	a, b, h := houseA+"/acme/app", houseB+"/acme/app", hub+"/acme/app"
	for _, registry := range []string{"", hub, houseA, houseB} {
		for _, images := range [][]string{{h}, {a}, {h, a}, {a, h}, {a, b}, {b, a}, {a, h, b}} {
			for _, l := range logins {
				for _, c := range config {
					all = append(all, combination{registry, images, l, c})
				}
			}
		}
	}
	return all
}

// A login goes to the registry that it is for, and to no other, whatever the combination of settings.
func TestALoginGoesToItsRegistryOnly(t *testing.T) {
	workspace := runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	pushed, sent := 0, map[string]int{}
	for _, c := range combinations() {
		s, err := settings.ReadPlugin(fixed(append(c.environ(), "CI_WORKSPACE="+workspace)))
		if err != nil {
			continue // nothing is sent
		}
		net := &listeners{registries: map[string]http.Handler{}, seen: map[string][]string{}}
		builder := runnertest.NewBuilder(t)
		builder.Transport = net
		var out bytes.Buffer
		err = step.Run(t.Context(), step.Options{
			Settings: s, Output: &out, Backoff: runnertest.NoBackoff, Transport: net,
			Dial: func(context.Context, string, identity.Identity) (publish.Builder, error) { return builder, nil },
		})
		if err == nil {
			pushed++
		}
		wants := map[string][]string{"main": {c.mainHost()}}
		for _, l := range append(c.logins, c.config...) {
			wants[l[1]] = append(wants[l[1]], l[0])
		}
		for host, users := range net.logins() {
			for _, user := range users {
				sent[user]++
				if !strings.Contains(strings.Join(wants[user], " "), host) {
					t.Errorf("%s: got the login of %s at %s, want it at %v only", c, user, host, wants[user])
				}
			}
		}
		if t.Failed() {
			t.Fatalf("log:\n%s\n%v", out.String(), err)
		}
	}
	if pushed < 400 {
		t.Errorf("combinations that pushed: got %d, want at least 400", pushed)
	}
	for _, user := range []string{"main", "hubber", "ada", "bob", "conf-hub", "conf-b"} {
		if sent[user] == 0 {
			t.Errorf("login of %s: got it sent nowhere, want it at its registry in some combination", user)
		}
	}
}

// The plan shows the registry of each login, and the log notes the one that is not used.
func TestTheHubsLoginInTwoSettings(t *testing.T) {
	e := newEnv(t)
	out := e.plan(
		"PLUGIN_USERNAME=hubuser", "PLUGIN_PASSWORD=canary", "PLUGIN_REPO=acme/infra,"+houseA+"/infra",
		logins([3]string{"https://index.docker.io/v1/", "hubuser", "canary"}), "PLUGIN_INSECURE=true",
	)
	runnertest.CheckHas(t, "the plan", out, "docker.io, by PLUGIN_USERNAME and PLUGIN_PASSWORD")
	runnertest.CheckHas(t, "the plan", out, "the login of PLUGIN_LOGINS (entry 1) is not used")
	runnertest.CheckLacks(t, "the plan", out, houseA+", by")
}
