package settings_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/settings"
)

func TestTheStepsOwnBuilderHasMirrorsAndNameServers(t *testing.T) {
	want := settings.OwnBuilder{
		Mirrors:   []string{"https://mirror.example.com/"},
		DNS:       []string{"10.0.0.2", "::1"},
		DNSSearch: []string{"example.com"},
	}
	for _, name := range []string{"PLUGIN_MIRROR", "DOCKER_PLUGIN_MIRROR"} {
		got, err := settings.ReadPlugin(
			plugin(
				name+"=https://mirror.example.com/",
				"PLUGIN_CUSTOM_DNS=10.0.0.2,::1",
				"PLUGIN_CUSTOM_DNS_SEARCH=example.com",
			),
		)
		if diff := cmp.Diff(
			want,
			got.OwnBuilder,
		); err != nil || diff != "" || got.Origins["PLUGIN_MIRROR"] != name ||
			got.Warnings != nil {
			t.Errorf("%s: %v, notes %q (-want +got):\n%s", name, err, got.Warnings, diff)
		}
	}
	got, err := settings.ReadPlugin(plugin("PLUGIN_MIRROR=mirror.example.com", "SLIPWAY_BUILDER=tcp://127.0.0.1:1234"))
	if err != nil || len(got.Warnings) != 1 ||
		got.Warnings[0] != "not used: PLUGIN_MIRROR; SLIPWAY_BUILDER names a builder, which has its own configuration" {
		t.Errorf("with a builder: %v, notes %q", err, got.Warnings)
	}
	got, err = settings.ReadPlugin(
		plugin(
			`PLUGIN_LOGINS=[{"username":"ci","password":"canary","mirrors":["mirror.example.com"]}]`,
			"PLUGIN_CUSTOM_DNS=10.0.0.2",
			"PLUGIN_CUSTOM_DNS_SEARCH=example.com",
			"PLUGIN_BUILDER=unix:///b.sock",
			"PLUGIN_REPO=acme/app",
		),
	)
	if err != nil || len(got.Warnings) != 1 ||
		!strings.HasPrefix(
			got.Warnings[0],
			"not used: mirrors of PLUGIN_LOGINS, PLUGIN_CUSTOM_DNS, PLUGIN_CUSTOM_DNS_SEARCH; PLUGIN_BUILDER names",
		) {
		t.Errorf("with a builder and mirrors of logins: %v, notes %q", err, got.Warnings)
	}
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line)); return err },
		map[string]string{
			"PLUGIN_MIRROR=ftp://mirror.example.com":  "PLUGIN_MIRROR is",
			"DOCKER_PLUGIN_MIRROR=https://a b":        "DOCKER_PLUGIN_MIRROR is",
			`PLUGIN_LOGINS=[{"mirrors":["ftp://m"]}]`: `PLUGIN_LOGINS (entry 1): mirrors is "ftp://m"`,
			"PLUGIN_CUSTOM_DNS=dns.example.com":       `PLUGIN_CUSTOM_DNS has "dns.example.com"`,
		},
	)
}

// Nobody need log in at Docker Hub to read from a mirror of it.
func TestMirrorsOfLoginsCountWhoeverLogsIn(t *testing.T) {
	for _, more := range [][]string{{`PLUGIN_LOGINS=[{"mirrors":["m.example.com"]}]`},
		{`PLUGIN_LOGINS=[{"username":"a","password":"canary-1","mirrors":["m.example.com"]}]`},
		{`PLUGIN_LOGINS=[{"username":"a","password":"canary-1","mirrors":["m.example.com"]}]`, "PLUGIN_REPO=acme/app", "PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary-2", "PLUGIN_REGISTRY=docker.io"}} {
		got, err := settings.ReadPlugin(plugin(append(more, "PLUGIN_MIRROR=first.example.com")...))
		if diff := cmp.Diff(
			[]string{"first.example.com", "m.example.com"},
			got.OwnBuilder.Mirrors,
		); err != nil ||
			diff != "" {
			t.Errorf("%v: %v (-want +got):\n%s", more, err, diff)
		}
	}
}

func TestBuildersOverSSH(t *testing.T) {
	e := plugin("PLUGIN_REMOTE_BUILDERS=local", "PLUGIN_SSH_KEY=canary-key")
	got, err := settings.ReadPlugin(e)
	if err != nil || got.Builder != "" || len(got.Warnings) != 1 ||
		!strings.Contains(got.Warnings[0], "PLUGIN_SSH_KEY is not used") {
		t.Errorf("the step's own: %v, notes %q", err, got.Warnings)
	}
	if log := secret.NewRedactor(got.Secrets()...).
		Mask([]byte("canary-key")); strings.Contains(string(log), "canary") ||
		!slices.Contains(e.removed, "PLUGIN_SSH_KEY") {
		t.Errorf("the log would show %s; removed %v", log, e.removed)
	}
	got, err = settings.ReadPlugin(
		plugin("PLUGIN_REMOTE_BUILDERS=local,root@build.example.com", "PLUGIN_BUILDER=tcp://127.0.0.1:1234"),
	)
	if err != nil || len(got.Warnings) != 1 ||
		!strings.Contains(got.Warnings[0], "PLUGIN_REMOTE_BUILDERS is not used, PLUGIN_BUILDER is") {
		t.Errorf("with another: %v, notes %q", err, got.Warnings)
	}
}
