package accounts

import (
	"net/url"
	"strings"
	"testing"
)

// S2: everything that is not clearly a path on this server becomes the home page.
func TestS2ReturnTo(t *testing.T) {
	for target, want := range map[string]string{
		"/settings/providers?tab=a&x=%2F": "/settings/providers?tab=a&x=%2F",
		"/builds/7#L12":                   "/builds/7",
		"/builds/7?attempt=2":             "/builds/7?attempt=2",
		"/automated-builds?search=a%20b":  "/automated-builds?search=a%20b",
		"/r/acme%20x":                     "/r/acme%20x",
		"/":                               "/",
		"":                                "/", "settings": "/", "//evil.example": "/", `/\evil.example`: "/",
		`\\evil.example`: "/", `\/evil.example`: "/",
		"https:evil.example": "/", "https://evil.example/": "/", "javascript:alert(1)": "/",
		"%2f%2fevil.example": "/", "/%2fevil.example": "/",
		"/%2Fevil.example": "/", "/%5cevil.example": "/", "/x/..//evil.example": "/", "/../x": "/", "/%2e%2e/x": "/",
		"///evil.example": "/", "//": "/", "/?//evil.example": "/?//evil.example",
		"/\tevil": "/", "/\n/evil": "/", "/%09/evil": "/", "/%0d%0aSet-Cookie:x": "/", "/x\x00": "/", "/%zz": "/",
		" //evil.example": "/", "/x//y": "/",
		"http:/evil": "/", "/@evil.example": "/@evil.example", "/" + strings.Repeat("a", 3000): "/",
	} {
		if got := LocalPath(target); got != want {
			t.Errorf("%q → %q, want %q", target, got, want)
		}
	}
}

func FuzzS2ReturnTo(f *testing.F) {
	for _, seed := range []string{"/a?b=c", "//evil", `/\evil`, "https:evil", "%2f%2f", "/%2f", "/a/../..//b"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://ci.example.com/oauth/bitbucket/callback")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got := LocalPath(target)
		u, err := base.Parse(got)
		if err != nil {
			t.Fatalf("parse: got error %v, want none", err)
		}
		if u.Host != base.Host {
			t.Errorf("host: got %v, want %v", u.Host, base.Host)
		}
		if u.Scheme != base.Scheme {
			t.Errorf("scheme: got %v, want %v", u.Scheme, base.Scheme)
		}
		if u.User != nil {
			t.Fatalf("user: got %v, want nil", u.User)
		}
		if !strings.HasPrefix(got, "/") {
			t.Errorf(`local path: got %q, want the prefix "/"`, got)
		}
		if strings.HasPrefix(got, "//") {
			t.Errorf(`local path: got %q, want another prefix than "//"`, got)
		}
		if strings.ContainsAny(got, "\\\r\n") {
			t.Error("local path: got a backslash or a line break, want none")
		}
	})
}
