package settings_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/identity/identitytest"
	"slipway/config/secret"
	"slipway/runner/settings"
)

type environment struct {
	lines   []string
	removed []string
	err     error
}

func (e *environment) Environ() []string { return e.lines }
func (e *environment) Unsetenv(name string) error {
	e.removed = append(e.removed, name)
	return e.err
}

func good(more ...string) *environment {
	return &environment{lines: append([]string{
		"PATH=/usr/bin", "SLIPWAY_RUNNER_URL=https://ci.example.com/runner/v1/builds/b1/",
		"SLIPWAY_RUNNER_TOKEN=canary", "SLIPWAY_BUILDER=unix:///run/slipway/builder.sock",
	}, more...)}
}

func TestRead(t *testing.T) {
	e := good("SLIPWAY_WORKDIR=/work")
	got, err := settings.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		URL: "https://ci.example.com/runner/v1/builds/b1", Token: secret.New("canary"),
		Builder: "unix:///run/slipway/builder.sock", Hooks: true, Workdir: "/work",
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(secret.Secret.Equal)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if !slices.Equal(e.removed, []string{"SLIPWAY_RUNNER_TOKEN"}) {
		t.Errorf("removed variables: got %v, want SLIPWAY_RUNNER_TOKEN only", e.removed)
	}
	if shown := fmt.Sprintf("%+v", got); strings.Contains(shown, "canary") {
		t.Errorf("settings: got %s, want no secret in it", shown)
	}
}

// A plugin step has settings and no environment of its own.
func TestSettingsComeByTheirPluginNamesToo(t *testing.T) {
	e := &environment{lines: []string{
		"PLUGIN_RUNNER_URL=https://ci.example.com/runner/v1/builds/b1",
		"PLUGIN_RUNNER_TOKEN=canary",
		"PLUGIN_RUNNER_HOOKS=off",
		"SLIPWAY_BUILDER=",
	}}
	got, err := settings.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{URL: "https://ci.example.com/runner/v1/builds/b1", Token: secret.New("canary")}
	if diff := cmp.Diff(want, got, cmp.Comparer(secret.Secret.Equal)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if !slices.Equal(e.removed, []string{"PLUGIN_RUNNER_TOKEN"}) {
		t.Errorf("removed variables: got %v, want PLUGIN_RUNNER_TOKEN only", e.removed)
	}
	remote := &environment{lines: []string{
		"PLUGIN_RUNNER_URL=https://ci.example.com/x",
		"PLUGIN_RUNNER_TOKEN=canary",
		"PLUGIN_BUILDER=tcp://builder:9443",
		"PLUGIN_BUILDER_TLS=" + identitytest.PEM(t),
	}}
	got, err = settings.Read(remote)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "without a certificate", got.BuilderTLS.IsZero(), false)
	checkRemoved(t, remote, "PLUGIN_BUILDER_TLS")
	both, err := settings.Read(good("PLUGIN_RUNNER_TOKEN=other", "PLUGIN_BUILDER=unix:///other.sock"))
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "token by both names", both.Token.Reveal(), "canary")
	checkEqual(t, "builder by both names", both.Builder, "unix:///run/slipway/builder.sock")
}

// A CI sets an empty variable for a missing secret, without an error.
func TestTheErrorOfAMissingSecretNamesItsSource(t *testing.T) {
	_, err := settings.Read(
		&environment{lines: []string{"PLUGIN_RUNNER_URL=https://ci.example.com/x", "PLUGIN_RUNNER_TOKEN="}},
	)
	for _, want := range []string{"PLUGIN_RUNNER_TOKEN is not set", "slipway_runner_token", "secret extension"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}
}

func TestHooksOff(t *testing.T) {
	if got, err := settings.Read(good("SLIPWAY_RUNNER_HOOKS=off")); err != nil || got.Hooks {
		t.Errorf("hooks: got %+v, error %v, want them off", got, err)
	}
}

func TestFaultsNameTheSetting(t *testing.T) {
	checkFaults(t, func(line string) error { _, err := settings.Read(good(line)); return err }, map[string]string{
		"SLIPWAY_RUNNER_URL=":                     "SLIPWAY_RUNNER_URL is not set",
		"SLIPWAY_RUNNER_URL=ftp://host/x":         "SLIPWAY_RUNNER_URL is not an http",
		"SLIPWAY_RUNNER_URL=https://a:canary@b/x": "SLIPWAY_RUNNER_URL must have no user",
		"SLIPWAY_RUNNER_URL=%":                    "SLIPWAY_RUNNER_URL is not an http",
		"SLIPWAY_RUNNER_TOKEN=":                   "SLIPWAY_RUNNER_TOKEN is not set",
		"SLIPWAY_RUNNER_TOKEN=can ary":            "SLIPWAY_RUNNER_TOKEN has white space",
		"SLIPWAY_BUILDER_TLS=x":                   "SLIPWAY_BUILDER_TLS: it is not a certificate",
		"SLIPWAY_BUILDER=/run/builder.sock":       "SLIPWAY_BUILDER: ",
		"SLIPWAY_RUNNER_HOOKS=yes":                "use on or off",
		"SLIPWAY_WORKDIR=work":                    "set an absolute path",
	})
}

// checkFaults checks each line in an otherwise valid environment. The error must have these words and no
// secret.
func checkFaults(t *testing.T, read func(line string) error, wants map[string]string) {
	t.Helper()
	for line, want := range wants {
		err := read(line)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got error %v, want no secret in it", line, err)
		}
	}
}

func TestEveryFaultIsReported(t *testing.T) {
	_, err := settings.Read(&environment{})
	for _, name := range []string{"SLIPWAY_RUNNER_URL", "SLIPWAY_RUNNER_TOKEN"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got error %v, want %s in it", err, name)
		}
	}
}

func TestNetworksOfARunner(t *testing.T) {
	e := good()
	got, err := settings.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	private, allowed := got.Networks.Settings()
	checkEqual(t, "private networks", private, "allow")
	checkEqual(t, "set", got.NetworksSet, false)
	checkEqual(t, "allowed networks", strings.Join(allowed, " "), "")
	e = good()
	e.lines = append(e.lines, "SLIPWAY_PRIVATE_NETWORKS=refuse", "SLIPWAY_ALLOWED_NETWORKS=10.1.2.3:5000,fd12::/16")
	if got, err = settings.Read(e); err != nil {
		t.Fatal(err)
	}
	private, allowed = got.Networks.Settings()
	checkEqual(t, "private networks", private, "refuse")
	checkEqual(t, "set", got.NetworksSet, true)
	checkEqual(t, "allowed networks", strings.Join(allowed, " "), "10.1.2.3:5000 fd12::/16")
	e = good()
	e.lines = append(e.lines, "SLIPWAY_ALLOWED_NETWORKS=registry.example.com")
	if _, err := settings.Read(e); err == nil || !strings.Contains(err.Error(), "SLIPWAY_ALLOWED_NETWORKS: entry 1") {
		t.Errorf("a name: got error %v, want the setting and the entry in it", err)
	}
}

func TestATokenThatStaysIsAFault(t *testing.T) {
	e := good()
	e.err = errors.New("read-only")
	if _, err := settings.Read(e); err == nil || !strings.Contains(err.Error(), "SLIPWAY_RUNNER_TOKEN") {
		t.Errorf("Read: got error %v, want SLIPWAY_RUNNER_TOKEN in it", err)
	}
}

func TestOSEnvironmentLosesTheToken(t *testing.T) {
	for _, line := range good().lines[1:] {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	if _, err := settings.Read(settings.OS{}); err != nil {
		t.Fatal(err)
	}
	if value, set := os.LookupEnv("SLIPWAY_RUNNER_TOKEN"); set {
		t.Errorf("SLIPWAY_RUNNER_TOKEN: got %q in the environment, want it removed", value)
	}
}

func TestEverySettingIsDescribed(t *testing.T) {
	all := settings.RunnerSettings()
	if len(all) != 9 {
		t.Fatalf("got %d settings, want 9", len(all))
	}
	checkEqual(t, "first setting", all[0].Name, "SLIPWAY_RUNNER_URL")
	checkEqual(t, "default of the hooks", all[4].Default, "on")
	for _, s := range all {
		if s.Help == "" {
			t.Errorf("help of %s: got none, want one", s.Name)
		}
	}
}

func TestTheGitProxyBelongsToTheBuild(t *testing.T) {
	for url, want := range map[string]string{
		"https://ci.example.com/runner/v1/builds/b1":         "https://ci.example.com/git/b1",
		"http://127.0.0.1:8080/runner/v1/builds/b1":          "http://127.0.0.1:8080/git/b1",
		"https://ci.example.com/slipway/runner/v1/builds/b1": "https://ci.example.com/slipway/git/b1",
		"https://ci.example.com/runner/v1/builds/":           "",
		"https://ci.example.com/runner/v1/builds/b1/x":       "",
		"https://ci.example.com/runner/v1":                   "",
	} {
		got, err := settings.Settings{URL: url}.GitProxy()
		if got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
		if (err != nil) != (want == "") {
			t.Errorf("%s: got error %v, want %q", url, err, want)
		}
	}
}
