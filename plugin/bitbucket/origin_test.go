package bitbucket_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/plugin/bitbucket"
)

// foreign starts a server that must never receive the credential.
func foreign(t *testing.T, seen *atomic.Int32) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, ""), canary) {
				t.Errorf("%s: got the credential in it, want none", name)
			}
		}
		fine(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// O1: The client sends the credential only to the configured origin, also after redirects. The
// other server differs only by its port, which net/http ignores.
func TestO1RedirectsToOtherOriginsHaveNoCredential(t *testing.T) {
	var seen atomic.Int32
	other := foreign(t, &seen)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/x?secret=1", http.StatusFound)
	})
	if err := get(t, c); err != nil || seen.Load() != 1 {
		t.Errorf("GET: got error %v and %d requests to the other origin, want success and 1", err, seen.Load())
	}
	c = serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https"+strings.TrimPrefix(other.URL, "http")+"/x", http.StatusTemporaryRedirect)
	})
	if err := get(t, c); !errors.Is(err, bitbucket.ErrUnavailable) || strings.Contains(err.Error(), canary) {
		t.Errorf("link with another scheme: got error %v, want ErrUnavailable without the credential", err)
	}
}

func TestO1RedirectsWithinTheOriginKeepIt(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/2.0/user" {
			http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+canary {
			w.WriteHeader(401)
			return
		}
		fine(w, r)
	})
	if err := get(t, c); err != nil {
		t.Error(err)
	}
}

func TestRedirectsEnd(t *testing.T) {
	var count atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		http.Redirect(w, r, "/again?secret=1", http.StatusFound)
	})
	err := get(t, c)
	if err == nil {
		t.Fatal("GET: got no error, want one about redirects")
	}
	if count.Load() > 24 {
		t.Errorf("requests: got %d, want at most 24", count.Load())
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("GET: got error %v, want it without the query", err)
	}
}

// O1: The client follows no link to another origin.
func TestO1NextLinksStayWithinTheOrigin(t *testing.T) {
	var seen atomic.Int32
	other := foreign(t, &seen)
	links := []string{
		other.URL + "/2.0/x?page=2",
		"//" + strings.TrimPrefix(other.URL, "http://") + "/x",
		"https://api.bitbucket.org/2.0/x",
		"file:///etc/passwd",
		"/2.0/x?page=2",
		"http://user@SELF/2.0/x",
		"http://SELF.evil.example/2.0/x",
		"http://SELF/2.0/../../x",
		"http://SELF/%2e%2e/x",
		"http://[::1",
		"https://SELF/2.0/x",
	}
	for _, link := range links {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			reply(200, "", fmt.Sprintf(`{"values":[1],"next":%q}`, strings.ReplaceAll(link, "SELF", r.Host)))(w, r)
		})
		values, err := bitbucket.All[int](t.Context(), c, bitbucket.Request{Path: "/2.0/x"}, 5)
		if err == nil || len(values) != 1 {
			t.Errorf("link %s: got %v, error %v, want one value and an error", link, values, err)
		}
	}
	if seen.Load() != 0 {
		t.Errorf("requests to another origin: got %d, want none", seen.Load())
	}
}

func TestAllReadsEveryPage(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		page := r.URL.Query().Get("page")
		next := map[string]string{"": "2", "2": "3"}[page]
		body := fmt.Sprintf(`{"values":["p%s"]}`, page)
		if next != "" {
			body = fmt.Sprintf(`{"values":["p%s"],"next":"HTTP://%s/2.0/x?page=%s"}`, page, r.Host, next)
		}
		reply(200, "", body)(w, r)
	})
	got, err := bitbucket.All[string](t.Context(), c, bitbucket.Request{Path: "/2.0/x"}, 3)
	if err != nil || !slices.Equal(got, []string{"p", "p2", "p3"}) {
		t.Errorf("values: got %v, error %v, want p, p2 and p3", got, err)
	}
	got, err = bitbucket.All[string](t.Context(), c, bitbucket.Request{Path: "/2.0/x"}, 2)
	if !errors.Is(err, bitbucket.ErrTooMany) || len(got) != 2 {
		t.Errorf("values over the limit: got %v, error %v, want 2 and ErrTooMany", got, err)
	}
}

func TestAllEndsWhenAPageNamesItself(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reply(200, "", fmt.Sprintf(`{"values":[1],"next":"http://%s/2.0/x"}`, r.Host))(w, r)
	})
	if _, err := bitbucket.All[int](t.Context(), c, bitbucket.Request{Path: "/2.0/x"}, 100); err == nil ||
		!strings.Contains(err.Error(), "same page") {
		t.Errorf(`next page: got error %v, want an error with "same page"`, err)
	}
}

func TestPathsWithDotSegmentsAreRejected(t *testing.T) {
	c := serve(
		t,
		func(_ http.ResponseWriter, r *http.Request) { t.Errorf("requests: got one for %s, want none", r.URL) },
	)
	for _, path := range []string{"2.0/user", bitbucket.Join("2.0", "..", "x"), "/2.0/./x", "/2.0/%2e%2e/x", "/%zz",
		"/\x7f", "@evil.example/x", "//evil\x00"} {
		if _, err := c.Do(t.Context(), bitbucket.Request{Method: "GET", Path: path}, nil); err == nil {
			t.Errorf("%q: got no error, want one", path)
		}
	}
	if _, err := c.Do(t.Context(), bitbucket.Request{Method: "PUT", Path: "/x", Body: func() {}}, nil); err == nil {
		t.Error("a body that JSON cannot encode: got no error, want one")
	}
}
