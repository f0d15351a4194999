package attemptserver

import (
	"net/http"
	"slices"
)

// Pick returns the named headers with all their values: clients send several Accept lines. A proxy
// passes on the listed headers only.
func Pick(from http.Header, names []string) http.Header {
	kept := http.Header{}
	for _, name := range names {
		if values := from.Values(name); len(values) > 0 {
			kept[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	return kept
}
