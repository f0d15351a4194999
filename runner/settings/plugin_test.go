package settings_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipway/config/secret"
	"slipway/runner/ci"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

func plugin(more ...string) *environment {
	return &environment{lines: append([]string{"PATH=/usr/bin", "PLUGIN_REPO=registry.example.com/acme/app"}, more...)}
}

// comparers are for values that cmp cannot look into.
func comparers() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreUnexported(settings.Plugin{}),
		cmp.Comparer(secret.Secret.Equal),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	}
}

func TestReadPluginWithOrigins(t *testing.T) {
	e := plugin(
		"PLUGIN_REGISTRY=https://registry.example.com/",
		"PLUGIN_TAGS=1.2, 1,,latest,1",
		"PLUGIN_DOCKERFILE=docker/Dockerfile",
		"PLUGIN_CONTEXT=app",
		"PLUGIN_TARGET=release",
		"PLUGIN_BUILD_ARGS=A=1,B=x=y,C=",
		"PLUGIN_USERNAME=ci",
		"PLUGIN_PASSWORD=canary",
		"PLUGIN_INSECURE=true",
		"PLUGIN_DRY_RUN=True",
		"PLUGIN_NO_CACHE=1",
		"SLIPWAY_BUILDER=tcp://127.0.0.1:1234",
		"CI_WORKSPACE=/woodpecker/src",
	)
	got, err := settings.ReadPlugin(e)
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Plugin{
		Workspace:  "/woodpecker/src",
		Images:     []string{"registry.example.com/acme/app"},
		Tags:       []string{"1.2", "1", "latest"},
		Dockerfile: "docker/Dockerfile",
		Context:    "app",
		Target:     "release",
		BuildArgs:  map[string]string{"A": "1", "B": "x=y", "C": ""},
		Logins: []settings.Login{{
			RegistryCredential: spec.RegistryCredential{
				Host:       "registry.example.com",
				Insecure:   true,
				Credential: spec.Credential{Username: "ci", Password: secret.New("canary")},
			},
			Origin: "PLUGIN_USERNAME and PLUGIN_PASSWORD",
		}},
		DryRun:  true,
		NoCache: true,
		Builder: "tcp://127.0.0.1:1234",
		Files:   settings.Files{RegistryType: "Docker", RegistryURL: "https://registry.example.com/"},
		Origins: map[string]string{
			"PLUGIN_REPO":       "PLUGIN_REPO",
			"PLUGIN_REGISTRY":   "PLUGIN_REGISTRY",
			"PLUGIN_TAGS":       "PLUGIN_TAGS",
			"PLUGIN_DOCKERFILE": "PLUGIN_DOCKERFILE",
			"PLUGIN_CONTEXT":    "PLUGIN_CONTEXT",
			"PLUGIN_TARGET":     "PLUGIN_TARGET",
			"PLUGIN_BUILD_ARGS": "PLUGIN_BUILD_ARGS",
			"PLUGIN_USERNAME":   "PLUGIN_USERNAME",
			"PLUGIN_PASSWORD":   "PLUGIN_PASSWORD",
			"PLUGIN_INSECURE":   "PLUGIN_INSECURE",
			"PLUGIN_DRY_RUN":    "PLUGIN_DRY_RUN",
			"PLUGIN_NO_CACHE":   "PLUGIN_NO_CACHE",
			"PLUGIN_BUILDER":    "SLIPWAY_BUILDER",
			"workspace":         "CI_WORKSPACE",
		},
		Build:  spec.BuildOptions{Pull: true},
		CI:     ci.Run{Origins: map[string]string{}},
		Labels: settings.Labels{Named: map[string]string{}, Schema: map[string]string{}, Auto: true},
	}
	maps.DeleteFunc(got.Origins, func(_, origin string) bool { return origin == settings.Default })
	if diff := cmp.Diff(want, got, comparers()); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if !slices.Equal(e.removed, []string{"PLUGIN_PASSWORD"}) {
		t.Errorf("removed variables: got %v, want PLUGIN_PASSWORD only", e.removed)
	}
	if shown := fmt.Sprintf("%+v", got); strings.Contains(shown, "canary") {
		t.Errorf("settings: got %s, want no secret in it", shown)
	}
	if masked := got.Secrets(); !slices.ContainsFunc(masked, secret.New("canary").Equal) {
		t.Errorf("secrets of the log: got %v, want the password in them", masked)
	}
}

func TestPluginDefaults(t *testing.T) {
	for _, e := range []*environment{
		{lines: []string{"PLUGIN_REPO=acme/app"}},
		{lines: []string{"PLUGIN_REPO=acme/app", "PLUGIN_TAGS=", "PLUGIN_DOCKERFILE=", "PLUGIN_CONTEXT=", "PLUGIN_BUILDER=", "SLIPWAY_BUILDER=", "PLUGIN_INSECURE=", "DRONE_WORKSPACE="}},
	} {
		got, err := settings.ReadPlugin(e)
		if err != nil {
			t.Fatal(err)
		}
		for name, origin := range got.Origins {
			if (name == "PLUGIN_REPO") == (origin == settings.Default) {
				t.Errorf("origin of %s: got %q, want a setting for PLUGIN_REPO only", name, origin)
			}
		}
		got.Origins = nil
		want := settings.Plugin{
			Workspace:  ".",
			Images:     []string{"docker.io/acme/app"},
			Tags:       []string{"latest"},
			Dockerfile: "Dockerfile",
			Context:    ".",
			BuildArgs:  map[string]string{},
			Build:      spec.BuildOptions{Pull: true},
			CI:         ci.Run{Origins: map[string]string{}},
			Labels:     settings.Labels{Named: map[string]string{}, Schema: map[string]string{}, Auto: true},
			Files:      settings.Files{RegistryType: "Docker", RegistryURL: "https://index.docker.io/v1/"},
		}
		if diff := cmp.Diff(want, got, comparers()); diff != "" {
			t.Errorf("settings (-want +got):\n%s", diff)
		}
	}
}

func TestPluginListsAndPrecedence(t *testing.T) {
	got, err := settings.ReadPlugin(plugin(
		`PLUGIN_TAGS=["a", "b"]`,
		`PLUGIN_BUILD_ARGS=["LIST=1,2"," "]`,
		"PLUGIN_REGISTRY=registry.example.com/acme",
		"PLUGIN_BUILDER=unix:///own.sock",
		"SLIPWAY_BUILDER=unix:///other.sock",
		"DRONE_WORKSPACE=/drone/src",
		"CI_WORKSPACE=/woodpecker/src",
	))
	checkError(t, "second entry", err, "PLUGIN_BUILD_ARGS: entry 2")
	checkSame(t, "tags", got.Tags, []string{"a", "b"})
	checkEqual(t, "build argument", got.BuildArgs["LIST"], "1,2")
	checkEqual(t, "builder", got.Builder, "unix:///own.sock")
	checkEqual(t, "workspace", got.Workspace, "/drone/src")
	checkEqual(t, "origin of the workspace", got.Origins["workspace"], "DRONE_WORKSPACE")
}

func TestPluginFaultsNameTheSetting(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line)); return err },
		map[string]string{
			"PLUGIN_REPO=": "PLUGIN_REPO is not set: set the image's name",
			"PLUGIN_REPO=registry.example.com/acme/app:1": "set the name without a tag, and the tags in PLUGIN_TAGS",
			"PLUGIN_REPO=acme/app@sha256:00":              "has a digest",
			"PLUGIN_REPO=registry.example.com/Acme/App":   "PLUGIN_REPO: image",
			"PLUGIN_REGISTRY=a b":                         "PLUGIN_REGISTRY: ",
			"PLUGIN_REGISTRY=ghcr.io":                     "begin PLUGIN_REPO with the registry",
			"PLUGIN_REGISTRY=registry.example.com/ac":     "begin PLUGIN_REPO with the registry",
			"PLUGIN_TAGS=feature/x":                       `PLUGIN_TAGS has "feature/x", which is not a tag`,
			"PLUGIN_TAGS=-rf":                             `PLUGIN_TAGS has "-rf"`,
			"PLUGIN_TAGS=,":                               "PLUGIN_TAGS has no tag",
			"PLUGIN_TAGS=[1]":                             "PLUGIN_TAGS begins with [",
			"PLUGIN_BUILD_ARGS=A=1,canary":                "PLUGIN_BUILD_ARGS: entry 2 is not NAME=value",
			"PLUGIN_BUILD_ARGS=A-B=canary":                "PLUGIN_BUILD_ARGS: entry 1",
			"PLUGIN_USERNAME=ci":                          "PLUGIN_USERNAME is set without PLUGIN_PASSWORD",
			"PLUGIN_PASSWORD=canary":                      "PLUGIN_PASSWORD is set without PLUGIN_USERNAME",
			"PLUGIN_INSECURE=maybe":                       "PLUGIN_INSECURE is \"maybe\": use true or false",
			"PLUGIN_DRY_RUN=2":                            "PLUGIN_DRY_RUN is",
			"PLUGIN_NO_CACHE=2":                           "PLUGIN_NO_CACHE is",
			"PLUGIN_BUILDER=tcp://buildkit:1234":          "PLUGIN_BUILDER_TLS is not set (setting builder_tls)",
			"PLUGIN_BUILDER_TLS=/no/such.pem":             "PLUGIN_BUILDER_TLS: open /no/such.pem",
			"SLIPWAY_BUILDER_TLS=x":                       "SLIPWAY_BUILDER_TLS: it is not a certificate",
			"PLUGIN_BUILDER=/run/builder.sock":            "PLUGIN_BUILDER: ",
			"SLIPWAY_BUILDER=/run/builder.sock":           "SLIPWAY_BUILDER: ",
			"PLUGIN_CHARTS=vfs":                           "PLUGIN_CHARTS: this step has no such setting",
			"PLUGIN_BUILD_ARG=A=1":                        "PLUGIN_BUILD_ARG (did you mean PLUGIN_BUILD_ARGS?): this step has no such setting",
			"PLUGIN_DOCKERFLIE=x":                         "did you mean PLUGIN_DOCKERFILE?",
			"PLUGIN_NO_PUSH=2":                            "PLUGIN_NO_PUSH is",
			"PLUGIN_QUIET=2":                              "PLUGIN_QUIET is",
			"PLUGIN_DEBUG=2":                              "PLUGIN_DEBUG is",
			"DOCKER_LAUNCH_DEBUG=2":                       "DOCKER_LAUNCH_DEBUG is",
		},
	)
}

func TestAPasswordThatStaysIsAFault(t *testing.T) {
	e := plugin("PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary")
	e.err = errors.New("read-only")
	if _, err := settings.ReadPlugin(e); err == nil || !strings.Contains(err.Error(), "PLUGIN_PASSWORD") {
		t.Errorf("ReadPlugin: got error %v, want PLUGIN_PASSWORD in it", err)
	}
}

func TestOSEnvironmentLosesThePassword(t *testing.T) {
	t.Setenv("PLUGIN_REPO", "acme/app")
	t.Setenv("PLUGIN_USERNAME", "ci")
	t.Setenv("PLUGIN_PASSWORD", "canary")
	if _, err := settings.ReadPlugin(settings.OS{}); err != nil {
		t.Fatal(err)
	}
	if value, set := os.LookupEnv("PLUGIN_PASSWORD"); set {
		t.Errorf("PLUGIN_PASSWORD: got %q in the environment, want it removed", value)
	}
}

func TestStep(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    bool
	}{
		{nil, false},
		{[]string{"PLUGIN_REPO="}, false},
		{[]string{"PLUGIN_REPO=acme/app"}, true},
		{[]string{"PLUGIN_TAGS=1", "SLIPWAY_RUNNER_URL="}, true},
		{[]string{"PLUGIN_REPO=acme/app", "SLIPWAY_RUNNER_URL=https://ci.example.com/x"}, false},
	} {
		if got := settings.RunsWithoutGateway(c.environ); got != c.want {
			t.Errorf("RunsWithoutGateway(%v): got %v, want %v", c.environ, got, c.want)
		}
	}
}

func TestEveryPluginSettingIsDescribed(t *testing.T) {
	all := settings.PluginSettings()
	if len(all) < 14 || all[0].Name != "PLUGIN_REPO" {
		t.Errorf("settings: got %+v, want 14 or more, PLUGIN_REPO first", all)
	}
	for _, s := range all {
		if s.Help == "" || !strings.HasPrefix(s.Name, "PLUGIN_") {
			t.Errorf("setting: got %+v, want help and a name that starts with PLUGIN_", s)
		}
	}
}

func TestAStepUnderAGatewayHasNoSettingsOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		environ              []string
		withoutGateway, step bool
	}{
		{[]string{"PLUGIN_RUNNER_URL=https://ci.example.com/x", "PLUGIN_RUNNER_TOKEN=t"}, false, true},
		{[]string{"PLUGIN_RUNNER_URL="}, false, false},
		{[]string{"PLUGIN_REPO=acme/app"}, true, true},
		{[]string{"PATH=/bin"}, false, false},
	} {
		if got := settings.RunsWithoutGateway(c.environ); got != c.withoutGateway {
			t.Errorf("RunsWithoutGateway(%v): got %t, want %t", c.environ, got, c.withoutGateway)
		}
		if got := settings.IsStep(c.environ); got != c.step {
			t.Errorf("IsStep(%v): got %t, want %t", c.environ, got, c.step)
		}
	}
}

func TestShownSettingsHideWhatMayBeSecret(t *testing.T) {
	p, err := settings.ReadPlugin(
		plugin(
			"PLUGIN_TAGS=1.2",
			"PLUGIN_USERNAME=ci",
			"PLUGIN_PASSWORD=canary",
			"PLUGIN_BUILD_ARGS=TOKEN=canary",
			"PLUGIN_BITBUCKET_TOKEN=canary",
			"PLUGIN_TARGET="+strings.Repeat("x", 300),
			"SLIPWAY_BUILDER=tcp://127.0.0.1:1234",
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]settings.Shown{}
	for _, s := range p.Shown() {
		got[s.Name] = s
		if strings.Contains(s.Value, "canary") || len(s.Value) > 210 {
			t.Errorf("printed setting: got %+v, want no secret and 210 characters at most", s)
		}
	}
	for _, want := range []settings.Shown{
		{Name: "PLUGIN_TAGS", Value: "1.2", Origin: "PLUGIN_TAGS"},
		{Name: "PLUGIN_DOCKERFILE", Value: "Dockerfile", Origin: "default"},
		{Name: "PLUGIN_PASSWORD", Value: "***", Origin: "PLUGIN_PASSWORD"},
		{Name: "PLUGIN_BUILD_ARGS", Value: "***", Origin: "PLUGIN_BUILD_ARGS"},
		{Name: "PLUGIN_BITBUCKET_TOKEN", Value: "***", Origin: "PLUGIN_BITBUCKET_TOKEN"},
		{Name: "PLUGIN_BUILDER", Value: "tcp://127.0.0.1:1234", Origin: "SLIPWAY_BUILDER"},
	} {
		if got[want.Name] != want {
			t.Errorf("setting %s: got %+v, want %+v", want.Name, got[want.Name], want)
		}
	}
	if _, ok := got["PLUGIN_REGISTRY"]; ok {
		t.Error("printed settings: got one without a value, want none")
	}
}
