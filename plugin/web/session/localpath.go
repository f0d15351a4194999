package session

import (
	"net/url"
	"strings"
)

// LocalPath returns path when it leads to a page of this site and "/" otherwise: a
// redirect after the sign-in never leaves. Browsers read a backslash as a slash and skip
// control characters, so neither is taken.
func LocalPath(path string) string {
	route, _, _ := strings.Cut(path, "?")
	decoded, err := url.PathUnescape(route)
	if err != nil || strings.ContainsFunc(path+decoded, unsafe) {
		return "/"
	}
	for _, form := range []string{route, decoded} {
		if !strings.HasPrefix(form, "/") || strings.HasPrefix(form, "//") {
			return "/"
		}
	}
	u, err := url.Parse(path)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return "/"
	}
	return u.RequestURI()
}

func unsafe(c rune) bool { return c < 0x21 || c == 0x7f || c == '\\' }
