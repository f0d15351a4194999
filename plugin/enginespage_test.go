package plugin

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
	"slipway/plugin/store/storetest"
)

// A visitor is the first administrator of a gateway that does not serve, and requests its pages.
type visitor struct {
	*Gateway
	session *http.Cookie
}

func visit(t *testing.T, environ []string) *visitor {
	t.Helper()
	g := wired(t, environ)
	v := &visitor{Gateway: g}
	token := secret.New("one-time")
	if err := g.store.CreateFirstToken(t.Context(), autobuild.TokenHash(token), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	in, _ := v.do(t, http.MethodPost, "/signin/token", url.Values{"token": {token.Reveal()}}.Encode())
	if len(in.Cookies()) != 1 {
		t.Fatalf("sign in: got status %s, want a cookie", in.Status)
	}
	v.session = in.Cookies()[0]
	return v
}

// do sends a request. It returns the response and its text, without HTML escapes.
func (v *visitor) do(t *testing.T, method, path, form string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if v.session != nil {
		r.AddCookie(v.session)
	}
	w := httptest.NewRecorder()
	v.server.Handler.ServeHTTP(w, r)
	return w.Result(), html.UnescapeString(w.Body.String())
}

// cis starts a Drone and a Woodpecker server, each with one pipeline in acme/builder.
func cis(t *testing.T) (drone, woodpecker string, environ []string) {
	t.Helper()
	serve := func(h http.Handler) string {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		return server.URL
	}
	drones := dronetest.New(dronetest.Options{Commit: func(_, _, _ string) string { return storetest.Commit(1) }})
	t.Cleanup(drones.Close)
	inDrone := drones.AddRepository("acme/builder", "main")
	drones.SetConfig(inDrone, "kind: pipeline\ntype: docker\nname: x\nsteps: []\n")
	if _, err := drones.Custom(inDrone, "slipway", nil); err != nil {
		t.Fatal(err)
	}
	woodpeckers := woodpeckertest.New(woodpeckertest.Options{})
	t.Cleanup(woodpeckers.Close)
	inWoodpecker := woodpeckers.AddRepository("acme/builder", "main")
	woodpeckers.Activate(inWoodpecker)
	woodpeckers.SetConfig(inWoodpecker, "when: [{event: manual}]\nsteps: []\n")
	if _, err := woodpeckers.Manual(inWoodpecker, "main", "slipway", nil); err != nil {
		t.Fatal(err)
	}
	drone, woodpecker = serve(drones), serve(woodpeckers)
	return drone, woodpecker, []string{
		"SLIPWAY_URL=http://slipway.example.com",
		"SLIPWAY_DATA=" + t.TempDir(),
		"SLIPWAY_LISTEN=127.0.0.1:0",
		"SLIPWAY_ENGINE=drone",
		"SLIPWAY_DRONE_SERVER=" + drone,
		"SLIPWAY_DRONE_TOKEN=" + drones.AddUser("slipway").Reveal(),
		"SLIPWAY_WOODPECKER_SERVER=" + woodpecker,
		"SLIPWAY_WOODPECKER_TOKEN=" + woodpeckers.AddUser("slipway").Reveal(),
		"SLIPWAY_WOODPECKER_REPOSITORY=acme/builder",
	}
}

// The page of the engines shows the findings of the real engines, and the environments to copy.
func TestTheEnginesPageShowsTheEngines(t *testing.T) {
	drone, woodpecker, environ := cis(t)
	v := visit(t, environ)
	v.wants(t, "/settings/engines", drone, woodpecker, "in each repository")
	v.wants(t, "/settings/engines?look=drone", "Drone 2.28.1 at "+drone, "slipway's, an administrator")
	v.wants(t, "/settings/engines?look=woodpecker", "Woodpecker 3.17.0 at "+woodpecker, "acme/builder is active")
	var printed bytes.Buffer
	if err := printEnvironments(t.Context(), &printed, environ); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"drone", "woodpecker"} {
		answer, _ := v.do(t, http.MethodPost, "/settings/engines/"+name+"/environment", "")
		page, _, _ := strings.Cut(answer.Header.Get("Location"), "#")
		resp, text := v.do(t, http.MethodGet, page, "")
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("environment of %s: got status %s, Cache-Control %q, want 200 and no-store",
				name, resp.Status, resp.Header.Get("Cache-Control"))
		}
		shown := 0
		for line := range strings.Lines(printed.String()) {
			if setting := strings.TrimSpace(line); strings.HasPrefix(setting, strings.ToUpper(name)+"_") {
				if shown++; !strings.Contains(text, setting) {
					t.Errorf("page of %s: got no %s, want it", name, setting)
				}
			}
		}
		if shown == 0 {
			t.Errorf("settings of %s: got none, want some:\n%s", name, printed.String())
		}
	}
	for _, path := range []string{"/settings/engines", "/settings/engines?look=drone", "/settings/engines/drone/environment"} {
		if _, text := v.do(t, http.MethodGet, path, ""); strings.Contains(text, "DRONE_YAML_SECRET") {
			t.Errorf("GET %s: got the environment, want none", path)
		}
	}
}

// A build's page links to the page of its pipeline on the CI.
func TestBuildsLinkToTheirPipelines(t *testing.T) {
	drone, woodpecker, environ := cis(t)
	v := visit(t, environ)
	automated := storetest.AutomatedBuild(t, v.store, storetest.Repository("app"))
	for i, want := range map[int]struct{ engine, page string }{1: {"drone", drone + "/acme/builder/1"}, 2: {"woodpecker", woodpecker + "/repos/1/pipeline/1"}} {
		b, _, err := v.store.CreateBuild(
			t.Context(),
			storetest.Draft(automated, storetest.Main(), storetest.Commit(i), autobuild.CauseManual),
		)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.store.StartAttempt(
			t.Context(),
			b.ID,
			want.engine,
			"hash",
			time.Now().Add(time.Hour),
			autobuild.Limits{},
		); err != nil {
			t.Fatal(err)
		}
		if err := v.store.SetEngineRef(t.Context(), b.ID, 1, "acme/builder#1"); err != nil {
			t.Fatal(err)
		}
		link := fmt.Sprintf("/builds/%d/pipeline?attempt=1", b.Number)
		v.wants(t, fmt.Sprintf("/builds/%d", b.Number), `href="`+link+`"`)
		resp, _ := v.do(t, http.MethodGet, link, "")
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusFound || got != want.page {
			t.Errorf("on %s: got %s to %q, want 302 to %s", want.engine, resp.Status, got, want.page)
		}
	}
}

func (v *visitor) wants(t *testing.T, path string, texts ...string) {
	t.Helper()
	resp, text := v.do(t, http.MethodGet, path, "")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got status %s, want 200", path, resp.Status)
	}
	for _, want := range texts {
		if !strings.Contains(text, want) {
			t.Errorf("%s: got %s, want it to contain %q", path, text, want)
		}
	}
}
