package settings_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"slipway/config/grammar"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// FuzzReadPlugin checks that settings are either accepted and fit for a build, or rejected with the name
// of the setting, and that the password is removed from the environment and not shown.
func FuzzReadPlugin(f *testing.F) {
	f.Add(
		"registry.example.com/acme/app",
		"https://registry.example.com/",
		"1.2, 1,,latest,1",
		"A=1,B=x=y,C=",
		"ci",
		"canary-password",
		"True",
		"",
	)
	f.Add("acme/app:1", "", `["a","b"]`, `["A=1,2"]`, "", "", "no", "tcp://127.0.0.1:1234")
	f.Add("../x", "evil.example/x", "[", "LD_PRELOAD=/x", "ci", "", "maybe", "unix:///x")
	f.Add("acme/app", "", "1.0+5", "", "", "", "", "")
	f.Add("acme/app@sha256:00", "docker.io", "--x,.y,{{.Token}}", "=,A", "", "canary-password", "", "builder:9443")
	tag := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	f.Fuzz(func(t *testing.T, repo, registry, tags, args, user, password, dry, builder string) {
		e := plugin(
			"PLUGIN_REGISTRY="+registry,
			"PLUGIN_TAGS="+tags,
			"PLUGIN_BUILD_ARGS="+args,
			"PLUGIN_USERNAME="+user,
			"PLUGIN_PASSWORD="+password,
			"PLUGIN_DRY_RUN="+dry,
			"PLUGIN_BUILDER="+builder,
		)
		e.lines[1] = "PLUGIN_REPO=" + repo
		p, err := settings.ReadPlugin(e)
		if password != "" && !slices.Contains(e.removed, "PLUGIN_PASSWORD") {
			t.Error("the password stays in the environment")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "PLUGIN_") {
				t.Errorf("the error names no setting: %v", err)
			}
			return
		}
		if !spec.LegalImage(p.Image()) {
			t.Errorf("accepted image %q", p.Image())
		}
		if len(p.Tags) == 0 {
			t.Error("accepted no tag")
		}
		if most := min(len(user), 1); len(p.Logins) > most {
			t.Errorf("got %d logins of user %q, want up to %d", len(p.Logins), user, most)
		}
		isJSON := strings.HasPrefix(strings.TrimSpace(tags), "[")
		for _, got := range p.Tags {
			if !tag.MatchString(got) {
				t.Errorf("accepted tag %q", got)
			}
			if !isJSON && !strings.Contains(strings.ReplaceAll(tags, "+", "_")+"latest", got) {
				t.Errorf("tag %q is not in %q", got, tags)
			}
		}
		for name := range p.BuildArgs {
			if !grammar.IsVariable(name) {
				t.Errorf("accepted build argument %q", name)
			}
			if !strings.Contains(args, name) {
				t.Errorf("build argument %q is not in %q", name, args)
			}
		}
		host, _, _ := strings.Cut(p.Image(), "/")
		for _, l := range p.Logins {
			if registry == "" {
				checkEqual(t, "registry of the login", l.Host, host)
			}
			checkEqual(t, "user", l.Username, user)
			checkEqual(t, "password", l.Password.Reveal(), password)
		}
	})
}

// FuzzRead is the same of a step that a gateway's engine started.
func FuzzRead(f *testing.F) {
	f.Add("https://slipway.example.com/runner/v1/builds/x/", "canary-token", "on", "", "/work")
	f.Add("https://u:p@h/x?q#f", "with blank", "yes", "tcp://h", "relative")
	f.Add("", "", "", "unix:///x", "/../x")
	f.Fuzz(func(t *testing.T, address, token, hooks, builder, workdir string) {
		e := &environment{lines: []string{
			"SLIPWAY_RUNNER_URL=" + address,
			"SLIPWAY_RUNNER_TOKEN=" + token,
			"SLIPWAY_RUNNER_HOOKS=" + hooks,
			"SLIPWAY_BUILDER=" + builder,
			"SLIPWAY_WORKDIR=" + workdir,
		}}
		s, err := settings.Read(e)
		if !slices.Contains(e.removed, "SLIPWAY_RUNNER_TOKEN") {
			t.Error("the token stays in the environment")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "SLIPWAY_") {
				t.Errorf("the error names no setting: %v", err)
			}
			isElsewhere := len(token) <= 8 || strings.Contains(address+hooks+builder+workdir, token)
			if !isElsewhere && strings.Contains(err.Error(), token) {
				t.Errorf("the error shows the token %q: %v", token, err)
			}
			return
		}
		if !strings.HasPrefix(strings.ToLower(s.URL), "http") {
			t.Errorf("accepted address %q", s.URL)
		}
		if strings.ContainsAny(s.URL, "?#@ ") && !strings.Contains(s.URL, "/") {
			t.Errorf("accepted address %q", s.URL)
		}
		checkEqual(t, "token", s.Token.Reveal(), token)
		checkEqual(t, "hooks", s.Hooks, hooks != "off")
	})
}

// FuzzLogins checks that logins are either accepted, each registry once and masked in the log, or rejected
// with the name of the setting and without the password.
func FuzzLogins(f *testing.F) {
	f.Add(
		`[{"registry":"ghcr.io","username":"u","password":"canary-password"},{"registry":"https://index.docker.io/v1/","username":"u","password":"p"}]`,
		`{"auths":{"ghcr.io":{"auth":"dTpw"}}}`,
		"quay.io",
		"true",
	)
	f.Add(
		`[{"registry":"a b"},{"username":1},{"mirrors":["m"]}]`,
		`{"auths":{"x/y/z":{"identitytoken":"canary-password"},"e":{}}}`,
		"https://u:canary-password@h",
		"a.example.com:5000,docker.io",
	)
	f.Add(`{}`, `{"credsStore":"x"}`, "ghcr.io/acme", "[")
	f.Add(`[null]`, `{"auths":{"a.io":{"auth":"canary-password"}},"credHelpers":{}}`, "-", "maybe")
	f.Fuzz(func(t *testing.T, logins, config, base, insecure string) {
		e := plugin(
			"PLUGIN_LOGINS="+logins,
			"PLUGIN_CONFIG="+config,
			"PLUGIN_BASE_IMAGE_REGISTRY="+base,
			"PLUGIN_BASE_IMAGE_USERNAME=u",
			"PLUGIN_BASE_IMAGE_PASSWORD=canary-password",
			"PLUGIN_INSECURE="+insecure,
		)
		p, err := settings.ReadPlugin(e)
		if logins != "" {
			checkRemoved(t, e, "PLUGIN_LOGINS")
		}
		if config != "" {
			checkRemoved(t, e, "PLUGIN_CONFIG")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "PLUGIN_") {
				t.Errorf("the error names no setting: %v", err)
			}
			if !strings.Contains(insecure, "canary-password") && strings.Contains(err.Error(), "canary-password") {
				t.Errorf("the error shows a password: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, l := range p.Logins {
			if seen[l.Host] {
				t.Errorf("two logins for %s", l.Host)
			}
			if !spec.LegalImage(l.Host + "/x") {
				t.Errorf("accepted registry %q", l.Host)
			}
			if l.Anonymous() && !l.Insecure {
				t.Errorf("an anonymous login for %s configures nothing", l.Host)
			}
			checkMasked(t, p, l.Password.Reveal())
			seen[l.Host] = true
		}
	})
}
