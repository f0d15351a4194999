package plugin

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"slipway/config"
	"slipway/config/secret"
	"slipway/plugin/assembly"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// A credential that every automated build of a registry may use causes a warning, with advice how to
// limit it. The gateway logs it at the start, and doctor prints it.
func TestAWideRegistryCredentialIsWarnedOf(t *testing.T) {
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(images.Close)
	host := strings.TrimPrefix(images.URL, "http://")
	l := listen(t)
	environ := settingsOf(t, l)
	c, err := config.LoadGateway(environ)
	if err != nil {
		t.Fatal(err)
	}
	served(t, environ, l) // makes the data directory
	storeCredentials(t, c, host)

	l = listen(t)
	text := served(t, append(environ, "SLIPWAY_URL=http://"+l.Addr().String()), l)
	want := "every automated build with an image at " + host + " may push with it: add a path prefix, for example " + host + "/team, or bind it"
	if got := strings.Count(text, want); got != 1 {
		t.Errorf("warnings in the log: got %d, want 1:\n%s", got, text)
	}
	output, err := runDoctor(t, append(environ, "SLIPWAY_ALLOWED_NETWORKS="+host))
	if err == nil {
		t.Error("doctor with a stopped gateway: got no error, want one")
	}
	wantOutput(t, output, "✓ registry     "+host+" accepts the credential; "+want)
	if output, err = runDoctor(t, environ); err == nil {
		t.Error("doctor without the setting: got no error, want one")
	}
	wantOutput(t, output, "127.0.0.1 is loopback: to allow it, add "+host+" to SLIPWAY_ALLOWED_NETWORKS\n")
}

// served starts a gateway, waits until it serves, stops it, and returns its log.
func served(t *testing.T, environ []string, l net.Listener) string {
	t.Helper()
	stop := serve(t, environ, l)
	resp, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return stop()
}

// storeCredentials stores an automated build and two credentials: one for its whole registry, and one
// that is bound to the automated build, for a path without its image.
func storeCredentials(t *testing.T, c config.Gateway, host string) {
	t.Helper()
	sealer, err := seal.LoadOrCreate(c.Key, false)
	if err != nil {
		t.Fatal(err)
	}
	o := assembly.Database(c)
	o.Sealer = sealer
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	providers, err := s.Providers(t.Context())
	if err != nil || len(providers) == 0 {
		t.Fatalf("providers: got %d, error %v, want at least 1", len(providers), err)
	}
	a, err := s.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		Repository: autobuild.Repository{
			ProviderID: providers[0].ID,
			ID:         "{1}",
			FullName:   "acme/app",
		},
		Image:  host + "/acme/app",
		Engine: "embedded",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []autobuild.Registry{{Host: host}, {Host: host + "/other", AutomatedBuildID: a.ID}} {
		r.Username, r.Password, r.Insecure = "robot", secret.New("hunter2"), true
		if _, err := s.SaveRegistry(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
