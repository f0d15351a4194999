package gitproxy

import (
	"net/http"
	"regexp"
	"testing"
)

// For any request line, the proxy serves only one of four constant paths below one id.
func FuzzRoute(f *testing.F) {
	for _, uri := range []string{
		"/git/b1/info/refs?service=git-upload-pack", "/git/b1/git-upload-pack", "/git/b1/info/lfs/objects/batch",
		"/git/b1/lfs/ABCDEFGHIJKLMNOPQRSTUVWXYZ", "/git/b1/../b2/info/refs", "/git//", "http://h/git/b1/git-upload-pack", "/git/b1%2Fx", "",
	} {
		f.Add(http.MethodGet, uri)
		f.Add(http.MethodPost, uri)
	}
	legal := regexp.MustCompile(`\A/git/[A-Za-z0-9_-]{1,64}(?:` +
		`/info/refs\?service=git-upload-pack|/git-upload-pack|/info/lfs/objects/batch|/lfs/[A-Z2-7]{26})\z`)
	f.Fuzz(func(t *testing.T, method, uri string) {
		r := &http.Request{Method: method, RequestURI: uri, Header: http.Header{"Content-Type": {requestType}}}
		got, ok := parseRoute(r)
		if !ok {
			return
		}
		if !legal.MatchString(uri) {
			t.Errorf("route(%s %q): got %+v, want a refusal", method, uri, got)
		}
		if method != http.MethodGet && method != http.MethodPost {
			t.Errorf("route(%s %q): got %+v, want only GET and POST", method, uri, got)
		}
	})
}
