package plugin

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway/config"
	"slipway/config/discard"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
)

// The secrets exist after the first start of the gateway, and stay the same.
func TestEnginesPrintsWhatDroneNeeds(t *testing.T) {
	environ := []string{
		"SLIPWAY_URL=https://slipway.example.com",
		"SLIPWAY_DATA=" + t.TempDir(),
		"SLIPWAY_LISTEN=127.0.0.1:0",
	}
	err := printEnvironments(t.Context(), &bytes.Buffer{}, environ)
	if err == nil || !strings.Contains(err.Error(), "set SLIPWAY_DRONE_SERVER or SLIPWAY_WOODPECKER_SERVER") {
		t.Errorf(`without a CI: got %v, want an error with "set SLIPWAY_DRONE_SERVER or SLIPWAY_WOODPECKER_SERVER"`,
			err)
	}
	environ = append(environ, "SLIPWAY_DRONE_SERVER=http://127.0.0.1:1", "SLIPWAY_DRONE_TOKEN=hush")
	wireOnce(t, environ)
	var first, again bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &again} {
		if err := printEnvironments(t.Context(), out, environ); err != nil {
			t.Fatal(err)
		}
	}
	wantOutput(
		t,
		first.String(),
		"DRONE_YAML_ENDPOINT=https://slipway.example.com/extensions/drone/config\n",
		"\nDRONE_YAML_SECRET=",
		"\nDRONE_SECRET_PLUGIN_ENDPOINT=https://slipway.example.com/extensions/drone/secret\n",
		"\nDRONE_SECRET_PLUGIN_TOKEN=",
		"\nDRONE_WEBHOOK_SECRET=",
	)
	if first.String() != again.String() {
		t.Errorf("output: got\n%s\nthen\n%s\nwant the same twice", first.String(), again.String())
	}
	if strings.Contains(first.String(), "***") {
		t.Errorf("secret in the output: got\n%s\nwant it in full", first.String())
	}
	if strings.Contains(first.String(), "hush") {
		t.Errorf("output: got a token in it, want none:\n%s", first.String())
	}
}

// Woodpecker needs no secret of the gateway, and therefore no earlier start of it.
func TestEnginesPrintsWhatWoodpeckerNeeds(t *testing.T) {
	var out bytes.Buffer
	err := printEnvironments(t.Context(), &out, []string{
		"SLIPWAY_URL=https://slipway.example.com",
		"SLIPWAY_DATA=" + t.TempDir(),
		"SLIPWAY_WOODPECKER_SERVER=http://127.0.0.1:1",
		"SLIPWAY_WOODPECKER_TOKEN=hush",
		"SLIPWAY_WOODPECKER_IMAGE=registry.example.com/slipway",
	})
	if err != nil {
		t.Fatal(err)
	}
	wantOutput(
		t,
		out.String(),
		"# environment of the Woodpecker server\n",
		"\nWOODPECKER_CONFIG_EXTENSION_ENDPOINT=https://slipway.example.com/extensions/woodpecker/config\n",
		"\nWOODPECKER_SECRET_EXTENSION_ENDPOINT=https://slipway.example.com/extensions/woodpecker/secret\n",
		"\nWOODPECKER_EXTENSIONS_ALLOWED_HOSTS=external,slipway.example.com\n",
		"\nWOODPECKER_PLUGINS_PRIVILEGED=registry.example.com/slipway\n",
	)
	if strings.Contains(out.String(), "hush") {
		t.Errorf("output: got a token in it, want none:\n%s", out.String())
	}
}

func TestDoctorChecksCIs(t *testing.T) {
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
	output, err := runDoctor(t, environ)
	if err == nil {
		t.Error("run doctor with a Drone server that does not respond: got no error, want one")
	}
	wantOutput(t, output,
		"✕ drone        server: no response from Drone at http://127.0.0.1:1",
		"✓ woodpecker   token: is slipway's",
		"✓ woodpecker   builder repository: acme/builder is active",
	)
	if strings.Contains(output, "hush") {
		t.Errorf("output of doctor: got a token in it, want none:\n%s", output)
	}
}

// wireOnce constructs a gateway once, which creates its files and secrets.
func wireOnce(t *testing.T, environ []string) {
	t.Helper()
	wired(t, environ).Close()
}

// wired returns a gateway that does not serve. The end of the test closes it.
func wired(t *testing.T, environ []string) *Gateway {
	t.Helper()
	c, err := config.LoadGateway(environ)
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(t.Context(), Options{Config: c, Listener: listen(t), Log: discard.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}
