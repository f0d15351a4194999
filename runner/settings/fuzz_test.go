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
// of the setting. The password must be removed from the environment and not shown.
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
			t.Error("environment: got the password, want it removed")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "PLUGIN_") {
				t.Errorf("got error %v, want the name of a setting in it", err)
			}
			return
		}
		if !spec.LegalImage(p.Image()) {
			t.Errorf("image: got %q, want an error or a valid image", p.Image())
		}
		if len(p.Tags) == 0 {
			t.Error("tags: got none, want an error or a tag")
		}
		if most := min(len(user), 1); len(p.Logins) > most {
			t.Errorf("got %d logins of user %q, want up to %d", len(p.Logins), user, most)
		}
		isJSON := strings.HasPrefix(strings.TrimSpace(tags), "[")
		for _, got := range p.Tags {
			if !tag.MatchString(got) {
				t.Errorf("tag: got %q, want an error or a valid tag", got)
			}
			if !isJSON && !strings.Contains(strings.ReplaceAll(tags, "+", "_")+"latest", got) {
				t.Errorf("tag: got %q, want one of %q", got, tags)
			}
		}
		for name := range p.BuildArgs {
			if !grammar.IsVariable(name) {
				t.Errorf("build argument: got %q, want an error or a valid name", name)
			}
			if !strings.Contains(args, name) {
				t.Errorf("build argument: got %q, want one of %q", name, args)
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

// FuzzRead is like FuzzReadPlugin, for a step that a gateway's engine started.
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
			t.Error("environment: got the token, want it removed")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "SLIPWAY_") {
				t.Errorf("got error %v, want the name of a setting in it", err)
			}
			isElsewhere := len(token) <= 8 || strings.Contains(address+hooks+builder+workdir, token)
			if !isElsewhere && strings.Contains(err.Error(), token) {
				t.Errorf("got error %v, want no token %q in it", err, token)
			}
			return
		}
		if !strings.HasPrefix(strings.ToLower(s.URL), "http") {
			t.Errorf("URL: got %q, want an error or an HTTP URL", s.URL)
		}
		if strings.ContainsAny(s.URL, "?#@ ") && !strings.Contains(s.URL, "/") {
			t.Errorf("URL: got %q, want an error or a URL with a path", s.URL)
		}
		checkEqual(t, "token", s.Token.Reveal(), token)
		checkEqual(t, "hooks", s.Hooks, hooks != "off")
	})
}

// FuzzLogins checks that logins are either accepted or rejected. Accepted logins have each registry once
// and are masked in the log. The error of rejected ones names the setting and does not show the password.
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
				t.Errorf("got error %v, want the name of a setting in it", err)
			}
			if !strings.Contains(insecure, "canary-password") && strings.Contains(err.Error(), "canary-password") {
				t.Errorf("got error %v, want no password in it", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, l := range p.Logins {
			if seen[l.Host] {
				t.Errorf("logins for %s: got two, want one", l.Host)
			}
			if !spec.LegalImage(l.Host + "/x") {
				t.Errorf("registry: got %q, want an error or a valid registry", l.Host)
			}
			if l.Anonymous() && !l.Insecure {
				t.Errorf("anonymous login for %s: got a secure registry, want an insecure one", l.Host)
			}
			checkMasked(t, p, l.Password.Reveal())
			seen[l.Host] = true
		}
	})
}
