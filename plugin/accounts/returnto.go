package accounts

import (
	"net/url"
	"strings"
	"unicode"
)

const maxReturnTo = 2048

// LocalPath returns target if it is a path on this server, without its fragment. It returns "/" for
// anything that a browser or a proxy might interpret as another server.
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
	for _, path := range []string{u.Path, u.EscapedPath()} { // also checks decoded %2f and %5c
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
