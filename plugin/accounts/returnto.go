package accounts

import (
	"net/url"
	"strings"
	"unicode"
)

const maxReturnTo = 2048

// LocalPath keeps a path of our own to return to after signing in or linking, and makes "/" of
// anything that a browser or a proxy might take for another place.
func LocalPath(target string) string {
	const home = "/"
	if len(target) > maxReturnTo || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") ||
		strings.Contains(target, `\`) || strings.ContainsFunc(target, unicode.IsControl) {
		return home
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return home
	}
	for _, path := range []string{u.Path, u.EscapedPath()} { // %2f and %5c count as what they become
		if strings.Contains(path, "//") || strings.Contains(path, `\`) || strings.Contains(path, "..") ||
			strings.ContainsFunc(path, unicode.IsControl) {
			return home
		}
	}
	u.Fragment, u.RawFragment = "", ""
	if kept := u.String(); strings.HasPrefix(kept, "/") {
		return kept
	}
	return home
}
