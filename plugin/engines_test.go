package plugin

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway/config"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
)

// TestEnginesPrintsWhatDroneNeeds: the secrets are there once the gateway ran, and stay.
func TestEnginesPrintsWhatDroneNeeds(t *testing.T) {
	environ := []string{
		"SLIPWAY_URL=https://slipway.example.com",
		"SLIPWAY_DATA=" + t.TempDir(),
		"SLIPWAY_LISTEN=127.0.0.1:0",
	}
	if err := engines(
		t.Context(),
		&bytes.Buffer{},
		environ,
	); err == nil ||
		!strings.Contains(err.Error(), "neither SLIPWAY_DRONE_SERVER nor SLIPWAY_WOODPECKER_SERVER is set") {
		t.Errorf("without a CI: %v", err)
	}
	environ = append(environ, "SLIPWAY_DRONE_SERVER=http://127.0.0.1:1", "SLIPWAY_DRONE_TOKEN=hush")
	wireOnce(t, environ)
	var first, again bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &again} {
		if err := engines(t.Context(), out, environ); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"DRONE_YAML_ENDPOINT=https://slipway.example.com/extensions/drone/config\n", "\nDRONE_YAML_SECRET=",
		"\nDRONE_SECRET_PLUGIN_ENDPOINT=https://slipway.example.com/extensions/drone/secret\n", "\nDRONE_SECRET_PLUGIN_TOKEN=", "\nDRONE_WEBHOOK_SECRET=",
	} {
		if !strings.Contains(first.String(), want) {
			t.Errorf("no %q in\n%s", want, first.String())
		}
	}
	if first.String() != again.String() || strings.Contains(first.String(), "***") ||
		strings.Contains(first.String(), "hush") {
		t.Errorf("first\n%s\nthen\n%s", first.String(), again.String())
	}
}

// Woodpecker needs no secret of ours, and so no gateway that ran before.
func TestEnginesPrintsWhatWoodpeckerNeeds(t *testing.T) {
	var out bytes.Buffer
	err := engines(t.Context(), &out, []string{
		"SLIPWAY_URL=https://slipway.example.com",
		"SLIPWAY_DATA=" + t.TempDir(),
		"SLIPWAY_WOODPECKER_SERVER=http://127.0.0.1:1",
		"SLIPWAY_WOODPECKER_TOKEN=hush",
		"SLIPWAY_WOODPECKER_IMAGE=registry.example.com/slipway",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# environment of the Woodpecker server\n", "\nWOODPECKER_CONFIG_EXTENSION_ENDPOINT=https://slipway.example.com/extensions/woodpecker/config\n",
		"\nWOODPECKER_SECRET_EXTENSION_ENDPOINT=https://slipway.example.com/extensions/woodpecker/secret\n",
		"\nWOODPECKER_EXTENSIONS_ALLOWED_HOSTS=external,slipway.example.com\n", "\nWOODPECKER_PLUGINS_PRIVILEGED=registry.example.com/slipway\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "hush") {
		t.Errorf("a token is shown:\n%s", out.String())
	}
}

func TestDoctorLooksAtCIs(t *testing.T) {
	server := woodpeckertest.New(woodpeckertest.Options{})
	t.Cleanup(server.Close)
	server.Activate(server.AddRepository("acme/builder", "main"))
	api := httptest.NewServer(server)
	t.Cleanup(api.Close)
	environ := []string{
		"SLIPWAY_URL=http://127.0.0.1:1",
		"SLIPWAY_DATA=" + t.TempDir(),
		"SLIPWAY_LISTEN=127.0.0.1:0",
		"SLIPWAY_BITBUCKET_API_URL=http://127.0.0.1:1",
		"SLIPWAY_BUILDER=unix:///no/such/builder.sock",
		"SLIPWAY_DRONE_SERVER=http://127.0.0.1:1",
		"SLIPWAY_DRONE_TOKEN=hush",
		"SLIPWAY_WOODPECKER_SERVER=" + api.URL,
		"SLIPWAY_WOODPECKER_TOKEN=" + server.AddUser("slipway").Reveal(),
		"SLIPWAY_WOODPECKER_REPOSITORY=acme/builder",
	}
	wireOnce(t, environ)
	var out bytes.Buffer
	if err := doctor(t.Context(), &out, environ, true); err == nil {
		t.Error("doctor finds nothing to mend where Drone does not answer")
	}
	for _, want := range []string{"✕ drone        server: no answer from Drone at http://127.0.0.1:1", "✓ woodpecker   token: is slipway's", "✓ woodpecker   builder repository: acme/builder is active"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("doctor does not say %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "hush") {
		t.Errorf("doctor shows a token:\n%s", out.String())
	}
}

// wireOnce makes what a gateway makes at its first start.
func wireOnce(t *testing.T, environ []string) {
	t.Helper()
	wired(t, environ).Close()
}

// wired is a gateway that is not run, and closed at the end of the test.
func wired(t *testing.T, environ []string) *Gateway {
	t.Helper()
	c, err := config.LoadGateway(environ)
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(t.Context(), Options{Config: c, Listener: listen(t), Log: silent()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}
