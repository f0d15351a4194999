package source

import (
	"strings"
	"testing"
)

// For any url of a submodule, the proxy is used for only one host and one path.
func FuzzSameRepository(f *testing.F) {
	for _, given := range []string{
		"https://bitbucket.org/acme/app.git", "git@bitbucket.org:acme/app", "ssh://git@altssh.bitbucket.org:443/acme/app.git",
		"https://joe@Bitbucket.org:443/acme/app/", "https://bitbucket.org/acme/app/../other", "ext::sh -c x", "",
	} {
		f.Add(given)
	}
	f.Fuzz(func(t *testing.T, given string) {
		if !sameRepository(given, "https://bitbucket.org/acme/app.git") {
			return
		}
		if !strings.Contains(strings.ToLower(given), "bitbucket.org") {
			t.Errorf("sameRepository(%q): got true, want false for another host", given)
		}
		if strings.HasPrefix(given, "-") {
			t.Errorf("sameRepository(%q): got true, want false for an option", given)
		}
	})
}
