package registryproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/runner/registryproxy"
)

// A registry would mount, for the installation's credential, a blob that the build may not read.
func TestMountOfAnotherRepositoryIsDropped(t *testing.T) {
	d := digest("secret layer")
	for _, query := range []string{
		"mount=" + d + "&from=other/private",
		"mount=" + d,
		"mount=" + d + "&from=acme/app&from=other/private",
		"mount=" + d + "&mount=" + d + "&from=acme/app",
		"from=other/private&mount=" + d,
		"mount=" + d + "&from=acme/app/../../other/private",
		"mount=" + d + "&from=acme%2Fapp%2F..%2F..%2Fother%2Fprivate",
		"mount=" + d + "&from=",
		"mount=latest&from=acme/app",
		"unknown=1&mount=" + d + "&from=other/private&tag=x",
	} {
		e := newEnv(t)
		wantStatus(t, query, e.do("POST", "/v2/acme/app/blobs/uploads/?"+query, ""), 202)
		if diff := cmp.Diff([]string{"POST /v2/acme/app/blobs/uploads/"}, e.uris()); diff != "" {
			t.Errorf("%s: requests to the registry (-want +got):\n%s", query, diff)
		}
	}
}

func TestMountOfAnAllowedRepository(t *testing.T) {
	for _, from := range []string{"acme/app", "acme/base"} {
		e := newEnv(t)
		e.serve = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://elsewhere.example.com/blob")
			w.WriteHeader(201)
		}
		d := digest("layer")
		got := e.do("POST", "/v2/acme/app/blobs/uploads/?mount="+d+"&from="+from+"&digest="+d, "")
		wantStatus(t, from, got, 201)
		if got, want := got.header.Get("Location"), "https://"+proxyName+"/v2/acme/app/blobs/"+d; got != want {
			t.Errorf("Location: got %q, want %q", got, want)
		}
		want := "POST /v2/acme/app/blobs/uploads/?from=" + strings.ReplaceAll(from, "/", "%2F") + "&mount=" +
			escaped(d)
		if diff := cmp.Diff([]string{want}, e.uris()); diff != "" {
			t.Errorf("requests to the registry (-want +got):\n%s", diff)
		}
	}
}

func TestMalformedQueriesAreRefused(t *testing.T) {
	e := newEnv(t)
	d := digest("x")
	for _, uri := range []string{
		"/v2/acme/app/tags/list?n=1;last=x", "/v2/acme/app/tags/list?n=1&n=2", "/v2/acme/app/tags/list?n=-1",
		"/v2/acme/app/tags/list?n=%zz",
		"/v2/acme/app/tags/list?last=%00", "/v2/acme/app/tags/list?last=a%0d%0ab",
		"/v2/acme/app/referrers/" + d + "?artifactType=a%20b",
	} {
		wantStatus(t, uri, e.do("GET", uri, ""), 400)
	}
	for _, query := range []string{"digest=" + d + "&digest=sha256:00", "digest=sha256:00", "digest=md5:x",
		"digest-algorithm=md5", "digest=" + d + ";x"} {
		wantStatus(t, query, e.do("POST", "/v2/acme/app/blobs/uploads/?"+query, ""), 400)
	}
	if got := e.last(); got.method != "" {
		t.Errorf("request to the registry: got %+v, want none", got)
	}
}

// escaped returns a digest as a query has it.
func escaped(digest string) string { return strings.Replace(digest, ":", "%3A", 1) }

var uploadAddress = regexp.MustCompile(`^https://` + regexp.QuoteMeta(proxyName) +
	`/v2/acme/app/blobs/uploads/[A-Z2-7]{26}$`)

func TestUploadsHaveOurAddresses(t *testing.T) {
	e := newEnv(t)
	stored := ""
	e.serve = func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "POST":
			w.Header().Set("Location", "/elsewhere/uploads/1?_state=a%2Fb%3D&x=1")
			w.Header().Set("Docker-Upload-Uuid", "upstream-uuid")
			w.Header().Set("Range", "0-0")
			w.WriteHeader(202)
		case r.Method == "PATCH" && r.RequestURI == "/elsewhere/uploads/1?_state=a%2Fb%3D&x=1":
			all, _ := io.ReadAll(r.Body)
			stored += string(all)
			w.Header().Set("Location", e.registry.URL+"/elsewhere/uploads/1?_state=second")
			w.Header().Set("Range", fmt.Sprintf("0-%d", len(stored)-1))
			w.WriteHeader(202)
		case r.Method == "GET" && r.RequestURI == "/elsewhere/uploads/1?_state=second":
			w.Header().Set("Range", fmt.Sprintf("0-%d", len(stored)-1))
			w.WriteHeader(204)
		case r.Method == "PUT" && r.RequestURI == "/elsewhere/uploads/1?_state=second&digest="+escaped(digest("hello world")):
			all, _ := io.ReadAll(r.Body)
			stored += string(all)
			w.Header().Set("Location", "https://elsewhere.example.com/blob")
			w.WriteHeader(201)
		default:
			w.WriteHeader(418)
		}
	}
	started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
	location := started.header.Get("Location")
	if !uploadAddress.MatchString(location) {
		t.Fatalf("Location: got %q, want an address of the proxy", location)
	}
	if got, want := started.header.Get("Docker-Upload-Uuid"), location[len(location)-26:]; got != want {
		t.Errorf("Docker-Upload-Uuid: got %q, want %q", got, want)
	}
	sent := e.do("PATCH", e.path(location), "hello", "Content-Range", "0-4")
	wantStatus(t, "PATCH", sent, 202)
	if got := sent.header.Get("Location"); got != location {
		t.Errorf("Location after PATCH: got %q, want %q", got, location)
	}
	if got := sent.header.Get("Range"); got != "0-4" {
		t.Errorf("Range after PATCH: got %q, want 0-4", got)
	}
	asked := e.do("GET", e.path(location), "")
	wantStatus(t, "GET", asked, 204)
	if got := asked.header.Get("Range"); got != "0-4" {
		t.Errorf("Range: got %q, want 0-4", got)
	}
	wantStatus(t, "PUT without a digest", e.do("PUT", e.path(location), " world"), 400)
	ended := e.do("PUT", e.path(location)+"?digest="+digest("hello world"), " world")
	wantStatus(t, "PUT", ended, 201)
	want := "https://" + proxyName + "/v2/acme/app/blobs/" + digest("hello world")
	if got := ended.header.Get("Location"); got != want {
		t.Errorf("Location of the blob: got %q, want %q", got, want)
	}
	if stored != "hello world" {
		t.Errorf(`blob in the registry: got %q, want "hello world"`, stored)
	}
	wantStatus(t, "PATCH after the end", e.do("PATCH", e.path(location), "x"), 404)
}

// An address on another host would get the credential with the blob.
func TestUploadsToAnotherHostAreRefused(t *testing.T) {
	for _, location := range []string{
		"https://evil.example.com/upload", "//evil.example.com/upload", "https://" + proxyName + "/upload",
		"http://x:y@UPSTREAM/upload", "https://UPSTREAM/upload",
		"ftp://UPSTREAM/upload", "http:upload", "", "http://UPSTREAM/" + strings.Repeat("x", 5000),
	} {
		e := newEnv(t)
		e.serve = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", strings.Replace(location, "UPSTREAM", hostOf(e.registry), 1))
			w.WriteHeader(202)
		}
		got := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
		wantStatus(t, location, got, 502)
		if got := got.header.Get("Location"); got != "" {
			t.Errorf("%s: Location to the client: got %q, want none", location, got)
		}
	}
}

func TestUploadsOfOthersAreNotFound(t *testing.T) {
	e := newEnv(t, func(_ *env, o *registryproxy.Options) { o.Repositories = append(o.Repositories, "acme/tool") })
	started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
	path := e.path(started.header.Get("Location"))
	id := path[strings.LastIndexByte(path, '/')+1:]
	for _, uri := range []string{"/v2/acme/tool/blobs/uploads/" + id,
		"/v2/acme/app/blobs/uploads/" + strings.Repeat("A", 26)} {
		for _, method := range []string{"PATCH", "PUT", "DELETE", "GET"} {
			wantStatus(t, method+" "+uri, e.do(method, uri+"?digest="+digest("x"), ""), 404)
		}
	}
	if got := len(e.uris()); got != 1 {
		t.Errorf("requests to the registry: got %q, want one", e.uris())
	}
}

func TestDeleteOfAnOwnUpload(t *testing.T) {
	e := newEnv(t)
	started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
	e.serve = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }
	path := e.path(started.header.Get("Location"))
	wantStatus(t, "DELETE", e.do("DELETE", path, ""), 204)
	if got := e.last().method; got != "DELETE" {
		t.Errorf("requests to the registry: got %q, want a DELETE at the end", e.uris())
	}
	wantStatus(t, "DELETE again", e.do("DELETE", path, ""), 404)
}

func TestUploadsAreBounded(t *testing.T) {
	e := newEnv(t)
	for i := range 1000 {
		if got := e.do("POST", "/v2/acme/app/blobs/uploads/", ""); got.status != 202 {
			t.Fatalf("upload %d: got %d %s, want 202", i, got.status, got.body)
		}
	}
	before := len(e.uris())
	wantStatus(t, "one more", e.do("POST", "/v2/acme/app/blobs/uploads/", ""), 429)
	if got := len(e.uris()); got != before {
		t.Errorf("requests to the registry: got %d, want %d", got, before)
	}
}

func TestMonolithicUpload(t *testing.T) {
	e := newEnv(t)
	got := e.do("POST", "/v2/acme/app/blobs/uploads/?digest="+digest("hello"), "hello", "Content-Type",
		"application/octet-stream")
	wantStatus(t, "POST", got, 201)
	if blob := e.do("GET", "/v2/acme/app/blobs/"+digest("hello"), ""); blob.body != "hello" {
		t.Errorf(`blob: got %q, want "hello"`, blob.body)
	}
}

// A chunked body has no length. The registry must get all of it.
func TestUploadOfUnknownLength(t *testing.T) {
	e := newEnv(t)
	e.auth = basicAuth
	blob := strings.Repeat("0123456789", 50_000)
	started := e.do("POST", "/v2/acme/app/blobs/uploads/", "")
	sent := e.send(e.request("PATCH", e.path(started.header.Get("Location")),
		struct{ io.Reader }{strings.NewReader(blob)}))
	wantStatus(t, "PATCH", sent, 202)
	wantStatus(t, "PUT", e.do("PUT", e.path(sent.header.Get("Location"))+"?digest="+digest(blob), ""), 201)
	if got := e.do("GET", "/v2/acme/app/blobs/"+digest(blob), ""); got.body != blob {
		t.Errorf("blob: got %d bytes, want %d", len(got.body), len(blob))
	}
}
