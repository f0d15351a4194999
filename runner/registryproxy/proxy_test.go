package registryproxy_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/registryproxy"
)

func TestPushAndPull(t *testing.T) {
	e := newEnv(t)
	e.auth = basicAuth
	manifest := e.manifest()
	put := e.do("PUT", "/v2/acme/app/manifests/1.2", manifest, "Content-Type", ociManifest)
	wantStatus(t, "PUT of a manifest", put, 201)
	if got, want := put.header.Get("Location"), "https://"+proxyName+"/v2/acme/app/manifests/1.2"; got != want {
		t.Errorf("Location: got %q, want %q", got, want)
	}
	if got, want := put.header.Get("Docker-Content-Digest"), digest(manifest); got != want {
		t.Errorf("Docker-Content-Digest: got %q, want %q", got, want)
	}
	for _, reference := range []string{"1.2", digest(manifest)} {
		got := e.do("GET", "/v2/acme/app/manifests/"+reference, "", "Accept", ociManifest)
		if wantStatus(t, "GET "+reference, got, 200); got.body != manifest {
			t.Errorf("GET %s: got %q, want the manifest", reference, got.body)
		}
		head := e.do("HEAD", "/v2/acme/app/manifests/"+reference, "")
		if head.status != 200 || head.header.Get("Docker-Content-Digest") != digest(manifest) {
			t.Errorf(
				"HEAD %s: got %d %v, want 200 and digest %s",
				reference,
				head.status,
				head.header,
				digest(manifest),
			)
		}
	}
	blob := e.do("GET", "/v2/acme/app/blobs/"+digest("layer"), "")
	if wantStatus(t, "GET of a blob", blob, 200); blob.body != "layer" {
		t.Errorf(`GET of a blob: got %q, want "layer"`, blob.body)
	}
	tags := e.do("GET", "/v2/acme/app/tags/list?n=10", "")
	if wantStatus(t, "tags", tags, 200); !strings.Contains(tags.body, `"1.2"`) {
		t.Errorf("tags: got %q, want 1.2 in it", tags.body)
	}
	want := []registryproxy.Push{{Repository: "acme/app", Tag: "1.2", Digest: digest(manifest)}}
	if diff := cmp.Diff(want, e.proxy.Pushes()); diff != "" {
		t.Errorf("pushes (-want +got)\n%s", diff)
	}
}

func TestClientsNeedTheAttemptsToken(t *testing.T) {
	e := newEnv(t)
	for name, change := range map[string]func(*http.Request){
		"none":                func(r *http.Request) { r.Header.Del("Authorization") },
		"another token":       func(r *http.Request) { r.SetBasicAuth("build", "other") },
		"the real credential": func(r *http.Request) { r.SetBasicAuth("robot", canary) },
		"a bearer token":      func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+attemptToken) },
		"two headers":         func(r *http.Request) { r.Header.Add("Authorization", "Basic eDp5") },
		"the token as a name": func(r *http.Request) { r.SetBasicAuth(attemptToken, "") },
		"a part of the token": func(r *http.Request) { r.SetBasicAuth("build", attemptToken[:5]) },
		"a Connection header's": func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("Connection",
				"Authorization")
		},
	} {
		for _, uri := range []string{"/v2/", "/v2/acme/app/tags/list"} {
			r := e.request("GET", uri, nil)
			change(r)
			got := e.send(r)
			wantStatus(t, name+" "+uri, got, 401)
			if got := got.header.Get("WWW-Authenticate"); got != `Basic realm="build"` {
				t.Errorf("%s: challenge: got %q, want %q", name, got, `Basic realm="build"`)
			}
		}
	}
	if got := e.uris(); len(got) != 0 {
		t.Errorf("requests to the registry: got %q, want none", got)
	}
}

func TestPingIsAnsweredHere(t *testing.T) {
	e := newEnv(t)
	for _, uri := range []string{"/v2/", "/v2"} {
		got := e.do("GET", uri, "")
		if wantStatus(t, uri, got, 200); got.body != "{}" {
			t.Errorf("%s: got %q, want %q", uri, got.body, "{}")
		}
	}
	wantStatus(t, "DELETE", e.do("DELETE", "/v2/", ""), 405)
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
}

func TestPathsThatAreRefused(t *testing.T) {
	e := newEnv(t)
	d := digest("x")
	for _, uri := range []string{
		"/v2/_catalog", "/v2/_catalog?n=1", "/v2/other/private/manifests/latest", "/v2/acme/app-other/manifests/latest",
		"/v2/acme/app/tool/manifests/latest", "/v2/acme/manifests/latest", "/v2/acme/app", "/v2/acme/app/",
		"/v2/acme/app/../../other/private/manifests/latest", "/v2/acme/app/%2e%2e/%2e%2e/other/private/manifests/latest",
		"/v2/acme/app/..%2f..%2fother/private/manifests/latest", "/v2/acme%2Fapp/tags/list", "/v2/acme%2fapp/tags/list",
		"/v2//acme/app/tags/list", "/v2/acme/app//tags/list", "/v2/acme/app/./tags/list",
		"/v2/acme/app/manifests/..%2f..%2f..%2fother%2fprivate%2fmanifests%2flatest",
		"/v2/acme/app/blobs/" + d + "/../../../../other/private/manifests/latest",
		"/V2/acme/app/tags/list", "/v2/Acme/app/tags/list", "/v2/acme/app/tags/list;x=1", "/v2/acme/app/tags/list%00",
		"/v2/acme/app/manifests/late%73t",
		"/v2/acme/app/blobs/uploads/../../../other/private/blobs/uploads/", "/v2/acme/app/blobs/uploads",
		"/v2/acme/app/blobs/latest",
		"/v2/acme/app/manifests/", "/v2/acme/app/manifests/" + strings.Repeat("a", 129),
		"/v2/acme/app/manifests/sha256:abc", "/v2/acme/app/manifests/.x",
		"/v2/acme/app/blobs/uploads/0b1b2c3d-0000-0000-0000-000000000000", "/v2/acme/app/tags/list/",
		"/v2/acme/app/referrers/latest",
		"/metrics", "/debug/vars", "/v1/search", "/", "/token", "/v2/token?scope=repository:other/private:pull",
		"/oauth2/token",
	} {
		for _, method := range []string{"GET", "POST", "PUT"} {
			wantStatus(t, method+" "+uri, e.do(method, uri, ""), 403)
		}
	}
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
}

// A client of an HTTP proxy sends an absolute URL in the request line. The registry proxy rejects it.
func TestOtherRequestLinesAreRefused(t *testing.T) {
	e := newEnv(t)
	for _, target := range []string{
		"http://registry.example.com/v2/acme/app/tags/list", "http://169.254.169.254/latest", "//v2/acme/app/tags/list",
		"//registry.example.com/v2/acme/app/tags/list",
	} {
		got := rawRequest(t, e, "GET "+target+" HTTP/1.1\r\nHost: x\r\n"+authorization+"Connection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 403 ") {
			t.Errorf("%s: got %q, want 403", target, got)
		}
	}
}

func TestMethodsThatAreRefused(t *testing.T) {
	e := newEnv(t)
	d := digest("x")
	for _, c := range []struct{ method, uri string }{
		{"DELETE", "/v2/acme/app/manifests/latest"}, {"DELETE", "/v2/acme/app/manifests/" + d},
		{"DELETE", "/v2/acme/app/blobs/" + d},
		{"DELETE", "/v2/acme/app/tags/list"}, {"OPTIONS", "/v2/acme/app/tags/list"},
		{"POST", "/v2/acme/app/manifests/latest"},
		{"PATCH", "/v2/acme/app/manifests/latest"}, {"PUT", "/v2/acme/app/blobs/" + d},
		{"GET", "/v2/acme/app/blobs/uploads/"},
		{"PUT", "/v2/acme/app/referrers/" + d}, {"TRACE", "/v2/acme/app/manifests/latest"},
		{"FOO", "/v2/acme/app/manifests/latest"},
	} {
		got := e.do(c.method, c.uri, "", "X-Http-Method-Override", "GET")
		wantStatus(t, c.method+" "+c.uri, got, 405)
		if got.header.Get("Allow") == "" {
			t.Errorf("%s %s: Allow header: got none, want one", c.method, c.uri)
		}
	}
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
}

func TestPullOnlyRepositories(t *testing.T) {
	e := newEnv(t)
	wantStatus(t, "tags", e.do("GET", "/v2/acme/base/manifests/latest", ""), 404)
	for _, c := range []struct{ method, uri string }{
		{"PUT", "/v2/acme/base/manifests/latest"}, {"POST", "/v2/acme/base/blobs/uploads/"},
		{"POST", "/v2/acme/base/blobs/uploads/?mount=" + digest("x") + "&from=acme/app"},
		{"DELETE", "/v2/acme/base/manifests/latest"},
	} {
		wantStatus(t, c.method+" "+c.uri, e.do(c.method, c.uri, "{}"), 403)
	}
	if got, want := e.uris(), []string{"GET /v2/acme/base/manifests/latest"}; cmp.Diff(want, got) != "" {
		t.Errorf("requests to the registry: got %q, want %q", got, want)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*registryproxy.Options){
		"no name":           func(o *registryproxy.Options) { o.Names = nil },
		"no token":          func(o *registryproxy.Options) { o.Token = secret.Secret{} },
		"no repository":     func(o *registryproxy.Options) { o.Repositories, o.PullOnly = nil, nil },
		"no permit":         func(o *registryproxy.Options) { o.Permit = nil },
		"no login":          func(o *registryproxy.Options) { o.Login = nil },
		"a path":            func(o *registryproxy.Options) { o.Upstream.Path = "/v2" },
		"another scheme":    func(o *registryproxy.Options) { o.Upstream.Scheme = "ftp" },
		"a password":        func(o *registryproxy.Options) { o.Upstream.User = url.UserPassword("robot", canary) },
		"a registry's name": func(o *registryproxy.Options) { o.Repositories = []string{proxyName + ":5000/acme/app"} },
		"a parent":          func(o *registryproxy.Options) { o.Repositories = []string{"acme/../other"} },
		"a blank name":      func(o *registryproxy.Options) { o.PullOnly = []string{""} },
	} {
		var o registryproxy.Options
		newEnv(t, func(_ *env, made *registryproxy.Options) {
			o = *made
			upstream := *made.Upstream
			o.Upstream = &upstream
		})
		change(&o)
		_, err := registryproxy.New(context.Background(), o)
		if err == nil {
			t.Errorf("%s: got no error, want one", name)
			continue
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got error %v, want no password in it", name, err)
		}
	}
}
