package registryproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/registryproxy"
)

// newStorage starts a blob storage that answers with a blob, and an env whose registry redirects
// there. The policy allows the storage.
func newStorage(t *testing.T, h http.HandlerFunc) (*env, *httptest.Server) {
	t.Helper()
	storage := httptest.NewServer(h)
	t.Cleanup(storage.Close)
	e := newEnv(t, func(_ *env, o *registryproxy.Options) { o.Policy.Allow = append(o.Policy.Allow, hostOf(storage)) })
	e.auth = basicAuth
	e.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "registry="+canary)
		http.Redirect(w, r, storage.URL+"/signed?X-Signature=1", http.StatusTemporaryRedirect)
	}
	return e, storage
}

func TestBlobStorageGetsRangeAndNothingElse(t *testing.T) {
	var got http.Header
	e, _ := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("Set-Cookie", "storage=1")
		w.Header().Set("X-Amz-Request-Id", "internal")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	})
	blob := digest("0123456789")
	part := e.do("GET", "/v2/acme/app/blobs/"+blob, "", "Range", "bytes=2-4", "Accept", "a/b", "Cookie", "x=1",
		"X-Client", "1")
	if wantStatus(t, "a part", part, 206); part.body != "234" {
		t.Errorf("requested range: got %q, want 234", part.body)
	}
	if diff := cmp.Diff(http.Header{"Range": {"bytes=2-4"}, "User-Agent": {"slipway"}}, got); diff != "" {
		t.Errorf("headers at the storage (-want +got)\n%s", diff)
	}
	whole := e.do("GET", "/v2/acme/app/blobs/"+blob, "")
	if wantStatus(t, "the whole", whole, 200); whole.body != "0123456789" {
		t.Errorf(`whole blob: got %q, want "0123456789"`, whole.body)
	}
	for _, name := range []string{"Location", "Set-Cookie", "X-Amz-Request-Id"} {
		if got := whole.header.Get(name); got != "" {
			t.Errorf("header %s to the client: got %q, want none", name, got)
		}
	}
	head := e.do("HEAD", "/v2/acme/app/blobs/"+blob, "")
	switch {
	case head.status != 200:
		t.Errorf("HEAD: got %d, want 200", head.status)
	case head.header.Get("Content-Length") != "10":
		t.Errorf(`HEAD: Content-Length: got %q, want "10"`, head.header.Get("Content-Length"))
	case head.header.Get("Docker-Content-Digest") != blob:
		t.Errorf("HEAD: digest: got %q, want %q", head.header.Get("Docker-Content-Digest"), blob)
	}
}

func TestRedirectsAreLimited(t *testing.T) {
	var hops atomic.Int64
	var last int64
	e, _ := newStorage(t, func(w http.ResponseWriter, r *http.Request) {
		if hops.Add(1) < last {
			http.Redirect(w, r, "/next", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "blob")
	})
	last = 3
	wantStatus(t, "3 redirects", e.do("GET", "/v2/acme/app/blobs/"+digest("blob"), ""), 200)
	hops.Store(0)
	last = 4
	wantStatus(t, "4 redirects", e.do("GET", "/v2/acme/app/blobs/"+digest("blob"), ""), 502)
	if got := hops.Load(); got != 3 {
		t.Errorf("got %d requests to the storage, want 3", got)
	}
}

// A redirect to this machine would give its response to repository code.
func TestRedirectsGoThroughThePolicy(t *testing.T) {
	reached := false
	internal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached = true
		_, _ = io.WriteString(w, "internal")
	}))
	defer internal.Close()
	_, port, _ := strings.Cut(hostOf(internal), ":")
	targets := []string{internal.URL, "http://localhost:" + port, "http://0.0.0.0:" + port,
		"http://[::ffff:127.0.0.1]:" + port, "http://169.254.169.254/latest"}
	for _, target := range targets {
		first := newEnv(t)
		first.serve = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target+"/x",
				http.StatusTemporaryRedirect)
		}
		wantStatus(t, target, first.do("GET", "/v2/acme/app/blobs/"+digest("internal"), ""), 502)

		second, _ := newStorage(t, func(w http.ResponseWriter,
			r *http.Request) {
			http.Redirect(w, r, target+"/x", http.StatusTemporaryRedirect)
		})
		wantStatus(
			t,
			target+" in the second redirect",
			second.do("GET", "/v2/acme/app/blobs/"+digest("internal"), ""),
			502,
		)
	}
	if reached {
		t.Error("request to an address of this machine: got one, want none")
	}
}

func TestRedirectsOfOtherThingsAreRefused(t *testing.T) {
	e, _ := newStorage(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") })
	for _, c := range []struct{ method, uri string }{
		{"GET", "/v2/acme/app/manifests/latest"}, {"HEAD", "/v2/acme/app/manifests/latest"},
		{"PUT", "/v2/acme/app/manifests/latest"},
		{"GET", "/v2/acme/app/tags/list"}, {"POST", "/v2/acme/app/blobs/uploads/"},
		{"GET", "/v2/acme/app/referrers/" + digest("x")},
	} {
		got := e.do(c.method, c.uri, "")
		if got.status != 502 || got.header.Get("Location") != "" {
			t.Errorf("%s %s: got %d %v, want 502 without an address", c.method, c.uri, got.status, got.header)
		}
	}
}

func TestStorageThatRefuses(t *testing.T) {
	e, _ := newStorage(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="storage"`)
		w.WriteHeader(403)
		_, _ = io.WriteString(w, "<Error>storage's words</Error>")
	})
	got := e.do("GET", "/v2/acme/app/blobs/"+digest("x"), "")
	wantStatus(t, "GET", got, 502)
	if strings.Contains(got.body, "storage's words") || got.header.Get("WWW-Authenticate") != "" {
		t.Errorf("response: got %v %q, want no part of the storage's response", got.header, got.body)
	}
}

// A client that requests a digest, as curl does, may not check it.
func TestContentWithAnotherDigestIsCut(t *testing.T) {
	for _, content := range []string{"tampered", strings.Repeat("x", 300_000)} {
		for _, redirected := range []bool{true, false} {
			e, _ := newStorage(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) })
			if !redirected {
				e.serve = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) }
			}
			got := e.do("GET", "/v2/acme/app/blobs/"+digest("original"), "")
			if got.err == nil || len(got.body) >= len(content) {
				t.Errorf(
					"%d bytes with another digest, redirected %v: got %d of them and error %v, want fewer and an error",
					len(content),
					redirected,
					len(got.body),
					got.err,
				)
			}
			whole := e.do("GET", "/v2/acme/app/blobs/"+digest(content), "")
			if whole.status != 200 || whole.body != content {
				t.Errorf(
					"%d bytes with their digest: got %d, %d bytes, error %v, want 200 and all bytes",
					len(content),
					whole.status,
					len(whole.body),
					whole.err,
				)
			}
		}
	}
	e := newEnv(t)
	e.serve = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }
	if got := e.do("GET", "/v2/acme/app/manifests/"+digest("x"), ""); got.err == nil && got.status == 200 {
		t.Errorf("a manifest with another digest: got %d %q, want an error", got.status, got.body)
	}
}

func TestAllAcceptLinesPass(t *testing.T) {
	e := newEnv(t)
	e.do("GET", "/v2/acme/app/manifests/latest", "", "Accept", "a/one", "Accept", "a/two, a/three", "Cookie", "x=1",
		"X-Forwarded-For", "10.0.0.1",
		"X-Registry-Auth", "x", "Docker-Distribution-Api-Version", "x")
	got := e.last().header
	if diff := cmp.Diff([]string{"a/one", "a/two, a/three"}, got["Accept"]); diff != "" {
		t.Errorf("Accept (-want +got)\n%s", diff)
	}
	for _, name := range []string{"Cookie", "X-Forwarded-For", "X-Registry-Auth", "Docker-Distribution-Api-Version",
		"Forwarded"} {
		if v := got.Get(name); v != "" {
			t.Errorf("header %s to the registry: got %q, want none", name, v)
		}
	}
}

// A client's Connection header must not remove the proxy's credential.
func TestConnectionHeaderKeepsTheCredential(t *testing.T) {
	e := newEnv(t)
	e.auth = basicAuth
	wantStatus(t, "GET", e.do("GET", "/v2/acme/app/manifests/latest", "", "Connection", "Authorization"), 404)
	if got := e.last().header.Get("Authorization"); got == "" {
		t.Error("Authorization to the registry: got none, want one")
	}
}

func TestListsHaveOurAddresses(t *testing.T) {
	d := digest("x")
	for _, c := range []struct{ uri, link, want string }{
		{"/v2/acme/app/tags/list?n=5", `</v2/acme/app/tags/list?n=5&last=b>; rel="next"`,
			`</v2/acme/app/tags/list?last=b&n=5>; rel="next"`},
		{"/v2/acme/app/tags/list?n=5", `<https://evil.test/v2/other/private/tags/list?n=5&last=b&canary=1>; rel="next"`,
			`</v2/acme/app/tags/list?last=b&n=5>; rel="next"`},
		{"/v2/acme/app/tags/list", `</v2/acme/app/tags/list?next_page=a%3D&n=50>; rel="next"`,
			`</v2/acme/app/tags/list?n=50&next_page=a%3D>; rel="next"`},
		{"/v2/acme/app/referrers/" + d, `</v2/acme/app/referrers/` + d + `?last=b>; rel=next`,
			`</v2/acme/app/referrers/` + d + `?last=b>; rel="next"`},
	} {
		e := newEnv(t)
		e.serve = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", c.link)
			fmt.Fprint(w, "{}")
		}
		got := e.do("GET", c.uri, "")
		if wantStatus(t, c.link, got, 200); got.header.Get("Link") != c.want {
			t.Errorf("%s: got %q, want %q", c.link, got.header.Get("Link"), c.want)
		}
	}
	for _, link := range []string{"x", "<%zz>; rel=next", "</v2/acme/app/tags/list?n=5>; rel=next",
		"</v2/acme/app/tags/list?opaque=5>; rel=next", "<?n=1;last=2>; rel=next"} {
		e := newEnv(t)
		e.serve = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Link", link) }
		wantStatus(t, link, e.do("GET", "/v2/acme/app/tags/list", ""), 502)
	}
}

// Addresses have the configured name, not a name that the client chose.
func TestHostOfTheClientIsNotReflected(t *testing.T) {
	e := newEnv(t, func(_ *env, o *registryproxy.Options) { o.Names = []string{proxyName, "index.docker.io"} })
	for host, want := range map[string]string{
		"evil.test": proxyName, proxyName: proxyName, "index.docker.io": "index.docker.io",
		"index.docker.io:443": "index.docker.io", "INDEX.docker.io": "index.docker.io",
	} {
		r := e.request("POST", "/v2/acme/app/blobs/uploads/", nil, "X-Forwarded-Host", "evil.test", "Forwarded",
			"host=evil.test")
		r.Host = host
		got := e.send(r)
		if location := got.header.Get("Location"); !strings.HasPrefix(location,
			"https://"+want+"/v2/acme/app/blobs/uploads/") {
			t.Errorf("Host %s: got %q, want an address at %s", host, location, want)
		}
	}
}

func TestErrorsOfTheRegistryAreBounded(t *testing.T) {
	e := newEnv(t)
	e.serve = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Www-Authenticate", `Bearer realm="https://evil.test"`)
		w.WriteHeader(500)
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	}
	got := e.do("GET", "/v2/acme/app/manifests/latest", "")
	switch {
	case got.status != 500:
		t.Errorf("status: got %d, want 500", got.status)
	case len(got.body) != 64<<10:
		t.Errorf("body: got %d bytes, want %d", len(got.body), 64<<10)
	case got.err != nil:
		t.Errorf("body: got error %v, want nil", got.err)
	}
	if v := got.header.Get("Www-Authenticate"); v != "" {
		t.Errorf("challenge to the client: got %q, want none", v)
	}
}
