package registryproxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/registryproxy"
)

func TestTagsTakeThePermitBeforeTheRequest(t *testing.T) {
	e := newEnv(t)
	e.permit = fmt.Errorf("%w: a newer build holds this tag", registryproxy.ErrRefused)
	got := e.do("PUT", "/v2/acme/app/manifests/latest", "{}", "Content-Type", ociManifest)
	wantStatus(t, "refused", got, 403)
	if !strings.Contains(got.body, "a newer build holds this tag") {
		t.Errorf("response: got %q, want the permit's reason", got.body)
	}
	if diff := cmp.Diff([]string{"acme/app:latest " + digest("{}")}, e.permits); diff != "" {
		t.Errorf("permits (-want +got)\n%s", diff)
	}
	e.permit = errors.New("dial gateway.internal: " + canary)
	got = e.do("PUT", "/v2/acme/app/manifests/latest", "{}")
	wantStatus(t, "no response of the gateway", got, 503)
	if strings.Contains(got.body, "gateway.internal") {
		t.Errorf("response: got %q, want no part of the error", got.body)
	}
	e.log.Reset() // it has the error's text, which the test made
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
	if got := e.proxy.Pushes(); len(got) != 0 {
		t.Errorf("got pushes %v, want none", got)
	}
}

// Newer registries also set the tags of the query, which have no permit.
func TestQueryOfAManifestIsDropped(t *testing.T) {
	e := newEnv(t)
	manifest := e.manifest()
	e.permits = nil
	wantStatus(t, "PUT", e.do("PUT", "/v2/acme/app/manifests/"+digest(manifest)+"?tag=latest&tag=1.2&n=1", manifest,
		"Content-Type", ociManifest), 201)
	if got, want := e.last().uri, "/v2/acme/app/manifests/"+digest(manifest); got != want {
		t.Errorf("request to the registry: got %q, want %q", got, want)
	}
	if len(e.permits) != 0 {
		t.Errorf("got permits %q, want none: no tag moves", e.permits)
	}
	want := []registryproxy.Push{{Repository: "acme/app", Digest: digest(manifest)}}
	if diff := cmp.Diff(want, e.proxy.Pushes()); diff != "" {
		t.Errorf("pushes (-want +got)\n%s", diff)
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	e := newEnv(t)
	wantStatus(t, "another digest", e.do("PUT", "/v2/acme/app/manifests/"+digest("x"), "{}"), 400)
	wantStatus(t, "another SHA-512", e.do("PUT", "/v2/acme/app/manifests/sha512:"+strings.Repeat("0", 128), "{}"), 400)
	wantStatus(t, "too large", e.do("PUT", "/v2/acme/app/manifests/latest", strings.Repeat("x", 4<<20+1)), 413)
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
	e.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }
	wantStatus(t, "as large as allowed", e.do("PUT", "/v2/acme/app/manifests/latest", strings.Repeat("x", 4<<20)), 201)
}

// The client receives the registry's own error, because a missing blob is useful to know.
func TestManifestOfForeignBlobs(t *testing.T) {
	e := newEnv(t)
	e.serve = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`)
	}
	got := e.do("PUT", "/v2/acme/app/manifests/stolen", "{}")
	wantStatus(t, "PUT", got, 400)
	if !strings.Contains(got.body, "MANIFEST_BLOB_UNKNOWN") {
		t.Errorf("response: got %q, want the registry's error code", got.body)
	}
	if got := e.proxy.Pushes(); len(got) != 0 {
		t.Errorf("got pushes %v, want none", got)
	}
}

func TestRegistryThatStoresAnotherManifest(t *testing.T) {
	e := newEnv(t)
	e.serve = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Content-Digest", digest("another"))
		w.Header().Set("Location", "https://evil.example.com/m")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(201)
	}
	got := e.do("PUT", "/v2/acme/app/manifests/latest", "{}")
	wantStatus(t, "PUT", got, 502)
	if !strings.Contains(got.body, "another digest") {
		t.Errorf("manifest: got %q, want it whole, with another length than the registry's", got.body)
	}
}

func TestPushesOfUnknownOutcome(t *testing.T) {
	e := newEnv(t)
	e.serve = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	wantStatus(t, "lost connection", e.do("PUT", "/v2/acme/app/manifests/latest", "{}"), 502)
	e.mu.Lock() // the first request may still run at the registry
	e.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(504) }
	e.mu.Unlock()
	e.do("PUT", "/v2/acme/app/manifests/1.2", "{}")
	want := []registryproxy.Push{
		{Repository: "acme/app", Tag: "latest", Digest: digest("{}"), Unknown: true},
		{Repository: "acme/app", Tag: "1.2", Digest: digest("{}"), Unknown: true},
	}
	if diff := cmp.Diff(want, e.proxy.Pushes()); diff != "" {
		t.Errorf("pushes (-want +got)\n%s", diff)
	}
}

// Some registries return another success status for a push than the specification. The push succeeded,
// so the build's result must name the tag.
func TestPushesWithAnotherSuccess(t *testing.T) {
	for _, status := range []int{200, 202, 204} {
		e := newEnv(t)
		e.serve = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example.com/m")
			w.WriteHeader(status)
		}
		got := e.do("PUT", "/v2/acme/app/manifests/latest", "{}")
		wantStatus(t, "PUT", got, status)
		if got, want := got.header.Get("Location"), "https://"+proxyName+"/v2/acme/app/manifests/latest"; got != want {
			t.Errorf("status %d: got Location %q, want %q", status, got, want)
		}
		want := []registryproxy.Push{{Repository: "acme/app", Tag: "latest", Digest: digest("{}")}}
		if diff := cmp.Diff(want, e.proxy.Pushes()); diff != "" {
			t.Errorf("status %d: pushes (-want +got)\n%s", status, diff)
		}
	}
}

func TestPushesAreBounded(t *testing.T) {
	e := newEnv(t)
	e.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }
	for i := range 1000 {
		if got := e.do("PUT", "/v2/acme/app/manifests/latest", fmt.Sprint(i)); got.status != 201 {
			t.Fatalf("push %d: got %d %s, want 201", i, got.status, got.body)
		}
	}
	wantStatus(t, "one more", e.do("PUT", "/v2/acme/app/manifests/latest", "{}"), 429)
	if got := len(e.proxy.Pushes()); got != 1000 {
		t.Errorf("got %d pushes, want 1000", got)
	}
}
