package settings_test

import (
	"testing"

	"slipway/runner/settings"
)

func TestTheStepsOwnBuilderHasMirrorsAndNameServers(t *testing.T) {
	want := settings.LocalBuilder{
		Mirrors:   []string{"https://mirror.example.com/"},
		DNS:       []string{"10.0.0.2", "::1"},
		DNSSearch: []string{"example.com"},
	}
	for _, name := range []string{"PLUGIN_MIRROR", "DOCKER_PLUGIN_MIRROR"} {
		got := readPlugin(t, name+"=https://mirror.example.com/", "PLUGIN_CUSTOM_DNS=10.0.0.2,::1",
			"PLUGIN_CUSTOM_DNS_SEARCH=example.com")
		checkSame(t, name, got.LocalBuilder, want)
		checkEqual(t, "origin", got.Origins["PLUGIN_MIRROR"], name)
		checkNotes(t, name, got.Warnings)
	}
	got := readPlugin(t, "PLUGIN_MIRROR=mirror.example.com", "SLIPWAY_BUILDER=tcp://127.0.0.1:1234")
	checkNotes(t, "with a builder", got.Warnings,
		"not used: PLUGIN_MIRROR; SLIPWAY_BUILDER names a builder, which has its own configuration")
	got = readPlugin(t,
		`PLUGIN_LOGINS=[{"username":"ci","password":"canary","mirrors":["mirror.example.com"]}]`,
		"PLUGIN_CUSTOM_DNS=10.0.0.2",
		"PLUGIN_CUSTOM_DNS_SEARCH=example.com",
		"PLUGIN_BUILDER=unix:///b.sock",
		"PLUGIN_REPO=acme/app",
	)
	checkNotes(t, "with a builder and mirrors of logins", got.Warnings,
		"not used: mirrors of PLUGIN_LOGINS, PLUGIN_CUSTOM_DNS, PLUGIN_CUSTOM_DNS_SEARCH; PLUGIN_BUILDER names")
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line)); return err },
		map[string]string{
			"PLUGIN_MIRROR=ftp://mirror.example.com":  "PLUGIN_MIRROR is",
			"DOCKER_PLUGIN_MIRROR=https://a b":        "DOCKER_PLUGIN_MIRROR is",
			`PLUGIN_LOGINS=[{"mirrors":["ftp://m"]}]`: `PLUGIN_LOGINS (entry 1): mirrors is "ftp://m"`,
			"PLUGIN_MIRROR=https://a:canary@m":        "PLUGIN_MIRROR has a user name or a password",
			"PLUGIN_CUSTOM_DNS=dns.example.com":       `PLUGIN_CUSTOM_DNS has "dns.example.com"`,
		},
	)
}

// A mirror of Docker Hub needs no login at Docker Hub.
func TestMirrorsOfLoginsCountWithAnyLogin(t *testing.T) {
	for _, more := range [][]string{{`PLUGIN_LOGINS=[{"mirrors":["m.example.com"]}]`},
		{`PLUGIN_LOGINS=[{"username":"a","password":"canary-1","mirrors":["m.example.com"]}]`},
		{`PLUGIN_LOGINS=[{"username":"a","password":"canary-1","mirrors":["m.example.com"]}]`, "PLUGIN_REPO=acme/app", "PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary-2", "PLUGIN_REGISTRY=docker.io"}} {
		got := readPlugin(t, append(more, "PLUGIN_MIRROR=first.example.com")...)
		checkSame(t, more[0], got.LocalBuilder.Mirrors, []string{"first.example.com", "m.example.com"})
	}
}

func TestBuildersOverSSH(t *testing.T) {
	e := plugin("PLUGIN_REMOTE_BUILDERS=local", "PLUGIN_SSH_KEY=canary-key")
	got, err := settings.ReadPlugin(e)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "builder", got.Builder, "")
	checkNotes(t, "the step's own builder", got.Warnings, "PLUGIN_SSH_KEY is not used")
	checkMasked(t, got, "canary-key")
	checkRemoved(t, e, "PLUGIN_SSH_KEY")
	got = readPlugin(t, "PLUGIN_REMOTE_BUILDERS=local,root@build.example.com", "PLUGIN_BUILDER=tcp://127.0.0.1:1234")
	checkNotes(t, "another builder", got.Warnings, "PLUGIN_REMOTE_BUILDERS is not used, because PLUGIN_BUILDER is set")
}
