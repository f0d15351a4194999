package settings_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"slipway/runner/settings"
	"slipway/runner/spec"
)

// FuzzReadPlugin holds that what a step is told is either taken, and then fit to build by, or
// refused with the setting's name; that the password leaves the environment and shows nowhere.
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
		if !spec.LegalImage(p.Image()) || len(p.Tags) == 0 || len(p.Logins) > 1 || user == "" && len(p.Logins) > 0 {
			t.Errorf("taken: %+v", p)
		}
		for _, got := range p.Tags {
			if !tag.MatchString(got) ||
				!strings.Contains(strings.ReplaceAll(tags, "+", "_")+"latest", got) &&
					!strings.HasPrefix(strings.TrimSpace(tags), "[") {
				t.Errorf("tag %q of %q", got, tags)
			}
		}
		for name := range p.BuildArgs {
			if !spec.LegalArg(name) || !strings.Contains(args, name) {
				t.Errorf("build argument %q of %q", name, args)
			}
		}
		for _, l := range p.Logins {
			if host, _, _ := strings.Cut(
				p.Image(),
				"/",
			); registry == "" && l.Host != host || l.Username != user ||
				l.Password.Reveal() != password {
				t.Errorf("the credential is for %s, the images are %s", l.Host, p.Images)
			}
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
			if !strings.Contains(err.Error(), "SLIPWAY_") ||
				len(token) > 8 && !strings.Contains(address+hooks+builder+workdir, token) &&
					strings.Contains(err.Error(), token) {
				t.Errorf("token %q, error %v", token, err)
			}
			return
		}
		if !strings.HasPrefix(strings.ToLower(s.URL), "http") ||
			strings.ContainsAny(s.URL, "?#@ ") && !strings.Contains(s.URL, "/") ||
			s.Token.Reveal() != token ||
			s.Hooks != (hooks != "off") {
			t.Errorf("taken: %+v", s)
		}
	})
}

// FuzzLogins holds that logins are taken whole, each registry once and masked in the log, or
// refused with the setting's name and without the password.
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
		if logins != "" && !slices.Contains(e.removed, "PLUGIN_LOGINS") ||
			config != "" && !slices.Contains(e.removed, "PLUGIN_CONFIG") {
			t.Errorf("removed %v alone", e.removed)
		}
		if err != nil {
			if !strings.Contains(err.Error(), "PLUGIN_") ||
				strings.Contains(err.Error(), "canary-password") && !strings.Contains(insecure, "canary-password") {
				t.Errorf("the error: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, l := range p.Logins {
			if seen[l.Host] || !spec.LegalImage(l.Host+"/x") || l.Anonymous() && !l.Insecure ||
				!slices.ContainsFunc(p.Secrets(), l.Password.Equal) {
				t.Errorf("taken: %+v", l)
			}
			seen[l.Host] = true
		}
	})
}
