package source

import (
	"strings"
	"testing"

	"slipway/config/secret"
)

// These include spellings that git's insteadOf misses, so that git would connect to Bitbucket itself.
func TestSameRepositoryKnowsEverySpelling(t *testing.T) {
	const origin = "https://bitbucket.org/acme/app.git"
	for given, want := range map[string]bool{
		"https://bitbucket.org/acme/app.git":              true,
		"https://bitbucket.org/acme/app":                  true,
		"https://bitbucket.org/acme/app/":                 true,
		"https://joe@bitbucket.org/acme/app.git":          true, // as Bitbucket's clone box writes it
		"https://bitbucket.org:443/acme/app.git":          true,
		"http://bitbucket.org/acme/app.git":               true,
		"http://bitbucket.org:80/acme/app":                true,
		"HTTPS://bitbucket.org/acme/app.git":              true,
		"https://Bitbucket.org/acme/app.git":              true,
		"git@bitbucket.org:acme/app.git":                  true,
		"bitbucket.org:acme/app.git":                      true,
		"ssh://git@bitbucket.org/acme/app.git":            true,
		"ssh://git@bitbucket.org:22/acme/app.git":         true,
		"git+ssh://git@bitbucket.org/acme/app.git":        true,
		"ssh+git://git@bitbucket.org/acme/app.git":        true,
		"ssh://git@altssh.bitbucket.org:443/acme/app.git": true,

		"https://bitbucket.org/acme/app-other":             false,
		"https://bitbucket.org/acme/app.git.git":           false,
		"https://bitbucket.org/acme/app/../other":          false,
		"https://bitbucket.org:8443/acme/app.git":          false,
		"https://bitbucket.org.example.com/acme/app.git":   false,
		"https://bitbucket.org@example.com/acme/app.git":   false,
		"https://example.com/bitbucket.org/acme/app.git":   false,
		"ssh://git@altssh.bitbucket.org/acme/app.git":      false,
		"https://bitbucket.org/acme/app.git?x=1":           false,
		"git://bitbucket.org/acme/app.git":                 false,
		"ext::sh -c touch% bitbucket.org/acme/app.git":     false,
		"file://bitbucket.org/acme/app.git":                false,
		"/acme/app.git":                                    false,
		"":                                                 false,
		"https://bitbucket.org/":                           false,
		"https://bitbucket.org/acme/%61pp.git/../../x/app": false,
	} {
		if got := sameRepository(given, origin); got != want {
			t.Errorf("sameRepository(%q): got %t, want %t", given, got, want)
		}
	}
}

func TestSubmodulesAreResolvedInCode(t *testing.T) {
	const origin = "https://bitbucket.org/acme/app.git"
	for name, tt := range map[string]struct {
		base, given, want string
		own               bool
	}{
		"relative, itself":       {origin, "../app.git", origin, true},
		"relative, from ssh":     {"ssh://git@bitbucket.org/acme/lib.git", "../app", origin, true},
		"short ssh":              {origin, "git@bitbucket.org:acme/app.git", origin, true},
		"an old name of ssh":     {origin, "git+ssh://git@bitbucket.org/acme/app", origin, true},
		"another of its host":    {origin, "https://bitbucket.org/acme/lib.git", "https://bitbucket.org/acme/lib.git", false},
		"relative, another":      {origin, "../lib.git", "https://bitbucket.org/acme/lib.git", false},
		"a name that begins so":  {origin, "../app-other.git", "https://bitbucket.org/acme/app-other.git", false},
		"another of its host, 2": {origin, "git@bitbucket.org:acme/lib.git", "ssh://git@bitbucket.org/acme/lib.git", false},
	} {
		m := &modules{origin: origin, proxy: Proxy{URL: "https://ci.example.com/git/b1", Token: secret.New("canary")}}
		a, err := m.resolve(tt.base, tt.given)
		if err != nil {
			t.Errorf("%s: got error %v, want nil", name, err)
			continue
		}
		if a.text != tt.want {
			t.Errorf("%s: got address %s, want %s", name, a.text, tt.want)
		}
		if a.own != tt.own {
			t.Errorf("%s: got own %t, want %t", name, a.own, tt.own)
		}
		if tt.own || a.ssh {
			continue
		}
		m.origin = "https://127.0.0.1/none" // so that pin looks nothing up
		a.host = "127.0.0.1"
		env, err := m.network(t.Context(), a)
		if err != nil {
			t.Errorf("%s: got error %v, want nil", name, err)
		}
		if got := strings.Join(env, "\n"); strings.Contains(got, "canary") {
			t.Errorf("%s: got the token in the environment of another repository's fetch, want none", name)
		}
	}
}

// The runner does not use its HTTP proxy for a gateway on this machine.
func TestALocalGatewayIsReachedWithoutAProxy(t *testing.T) {
	for url, want := range map[string]bool{
		"http://127.0.0.1:8080/git/b": true, "http://[::1]:8080/git/b": true, "http://localhost/git/b": true,
		"https://ci.example.com/git/b": false, "http://10.0.0.1/git/b": false,
	} {
		got := false
		for _, s := range (Proxy{URL: url}).access("https://h/r") {
			got = got || s == setting{"http." + url + "/.proxy", ""}
		}
		if got != want {
			t.Errorf("%s: got a setting without HTTP proxy %t, want %t", url, got, want)
		}
	}
}
