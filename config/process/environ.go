package process

import (
	"slices"
	"strings"
)

// Environ returns the variables of an environment that every child needs: the search path, the
// directories of the user, the proxies, and the certificate authorities. It also returns the variables
// with the names in more. All others are dropped, because they may contain secrets. Letter case is
// ignored, because some programs set https_proxy and others HTTPS_PROXY.
func Environ(environ []string, more ...string) []string {
	var kept []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		name = strings.ToUpper(name)
		switch name {
		case "PATH", "HOME", "USER", "TMPDIR",
			"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR":
			kept = append(kept, v)
		default:
			if slices.Contains(more, name) {
				kept = append(kept, v)
			}
		}
	}
	return kept
}
