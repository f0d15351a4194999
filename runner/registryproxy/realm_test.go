package registryproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"slipway/runner/registryproxy"
)

func TestTokenServersThatAreRefused(t *testing.T) {
	reached := false
	internal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached = true
		fmt.Fprint(w, `{"token":"t"}`)
	}))
	defer internal.Close()
	_, port, _ := strings.Cut(hostOf(internal), ":")
	for _, realm := range []string{
		internal.URL + "/token", "http://localhost:" + port + "/token", "http://0.0.0.0:" + port,
		"http://[::ffff:127.0.0.1]:" + port, "http://2130706433:" + port,
		"http://169.254.169.254/latest", "https://100.100.100.200/x", "https://168.63.129.16/x", "https://[fd00:ec2::254]/x",
		"file:///etc/passwd", "//token", "token", "", "http://user:password@" + hostOf(internal) + "/token", "%zz",
	} {
		e := newEnv(t)
		e.auth = refusing(401, `Bearer realm="`+realm+`",service="x"`)
		got := e.do("GET", "/v2/acme/app/manifests/latest", "")
		wantStatus(t, realm, got, 502)
		if realm != "" && strings.Contains(got.body, realm) {
			t.Errorf("%s: got response %q, want no realm in it", realm, got.body)
		}
	}
	if reached {
		t.Error("request to a token server on this machine: got one, want none")
	}
}

func TestTokenServersThatFail(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other",
				http.StatusTemporaryRedirect)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"no token": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) },
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<html>`) },
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"token":"`+strings.Repeat("x", 2<<20)+`"}`)
		},
		"a header in it": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token":"t\r\nX-Evil: 1"}`) },
	} {
		s := httptest.NewServer(h)
		e := newEnv(t, func(_ *env, o *registryproxy.Options) { o.Policy.Allow = append(o.Policy.Allow, hostOf(s)) })
		e.auth = refusing(401, `Bearer realm="`+s.URL+`/token",service="x"`)
		wantStatus(t, name, e.do("GET", "/v2/acme/app/manifests/latest", ""), 502)
		s.Close()
	}
}

// Over https nothing that the registry names may be plain: its token server would get the
// credential in the clear.
func TestHTTPSRegistriesNameHTTPSOnly(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter,
		*http.Request) {
		t.Error("request to a plain HTTP address: got one, want none")
	}))
	defer plain.Close()
	var challenge string
	registry := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case challenge != "":
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(401)
		case r.Method == "POST":
			w.Header().Set("Location", "http://"+r.Host+"/upload")
			w.WriteHeader(202)
		case r.URL.Path != "/v2/":
			http.Redirect(w, r, plain.URL, http.StatusTemporaryRedirect)
		}
	}))
	defer registry.Close()
	for _, challenge = range []string{"", `Bearer realm="` + plain.URL + `/token",service="x"`} {
		e := newEnv(t, func(_ *env, o *registryproxy.Options) {
			o.Upstream, _ = url.Parse(registry.URL)
			o.TLS = registry.Client().Transport.(*http.Transport).TLSClientConfig
			o.Policy.Allow = append(o.Policy.Allow, hostOf(registry), hostOf(plain))
		})
		wantStatus(t, "GET", e.do("GET", "/v2/acme/app/blobs/"+digest("x"), ""), 502)
		wantStatus(t, "POST", e.do("POST", "/v2/acme/app/blobs/uploads/", ""), 502)
	}
}

// The certificate for the registry is not shown to hosts that it names.
func TestTokenServerOfAnHTTPSRegistry(t *testing.T) {
	var registry *httptest.Server
	registry = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			fmt.Fprint(w, `{"token":"t1","expires_in":300}`)
		case r.Header.Get("Authorization") != "Bearer t1":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+registry.URL+`/token",service="x"`)
			w.WriteHeader(401)
		default:
			_, _ = io.WriteString(w, `{"tags":[]}`)
		}
	}))
	defer registry.Close()
	e := newEnv(t, func(_ *env, o *registryproxy.Options) {
		o.Upstream, _ = url.Parse(registry.URL)
		o.TLS = registry.Client().Transport.(*http.Transport).TLSClientConfig
		o.Policy.Allow = append(o.Policy.Allow, hostOf(registry))
	})
	wantStatus(t, "tags", e.do("GET", "/v2/acme/app/tags/list", ""), 200)
}
