package hookproxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/runner/hookproxy"
	"slipway/runner/registry"
	"slipway/runner/registryproxy"
	"slipway/runner/runnertest"
)

// An env has the servers of an attempt, and the listeners that a sandbox would have.
type env struct {
	*hookproxy.Proxies
	listeners []net.Listener
}

// newEnv starts the servers. The gateway responds with "history" to the attempt's token.
func newEnv(t *testing.T, source string, image *hookproxy.Image) *env {
	t.Helper()
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer attempt-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, "history")
	}))
	t.Cleanup(gateway.Close)
	proxies, err := hookproxy.New(t.Context(), hookproxy.Options{
		Source: source, Gateway: gateway.URL + "/git/b1", Token: secret.New("attempt-token"), Image: image,
		End: time.Now().Add(time.Hour), Log: discard.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxies.Close)
	e := &env{Proxies: proxies}
	err = proxies.Serve(t.Context(), func(ctx context.Context, _ int) (net.Listener, error) {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		e.listeners = append(e.listeners, l)
		return l, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// get sends a request to the server in place of a host.
func (e *env) get(t *testing.T, site int, url string) (status int, body string, err error) {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(e.Sandbox().Authority))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", e.listeners[site].Addr().String())
		},
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user := request.URL.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func TestHooksFetchWithoutACredential(t *testing.T) {
	for source, site := range map[string]string{
		"https://bitbucket.org/acme/app.git":              "bitbucket.org:443",
		"https://Git.corp.test:7990/scm/PROJ/app.git":     "git.corp.test:7990",
		"http://127.0.0.1:7990/acme/app.git":              "127.0.0.1:7990",
		"https://joe@bitbucket.org:443/acme/app-2.0_x/":   "bitbucket.org:443",
		"http://git.corp.test/scm/~joe/app.git?ignored=1": "git.corp.test:80",
	} {
		e := newEnv(t, source, nil)
		if problem := e.Problem(); problem != "" {
			t.Errorf("%s: got problem %q, want none", source, problem)
		}
		if got := e.Sandbox().Sites; len(got) != 1 || got[0] != site {
			t.Errorf("%s: got sites %v, want %s", source, got, site)
			continue
		}
		if _, err := e.Sandbox().Plan(); err != nil {
			t.Errorf("%s: plan of the sites: got error %v, want none", source, err)
		}
		address, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(source, "/"), ".git"), ".git?")
		status, body, err := e.get(t, 0, address+"/info/refs?service=git-upload-pack")
		if status != http.StatusOK || body != "history" {
			t.Errorf("%s: got %d %q, error %v, want 200 and the history", source, status, body, err)
		}
		hasTLS := strings.HasPrefix(source, "https:")
		if got := len(e.Environment()) > 0; got != hasTLS {
			t.Errorf("%s: variables of trust: got %t, want %t", source, got, hasTLS)
		}
	}
}

// Other requests go on to the provider, unless it is in a network that hooks may be kept out of.
func TestOtherRequestsToAPrivateProviderAreRefused(t *testing.T) {
	canary := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "canary") }),
	)
	t.Cleanup(canary.Close)
	e := newEnv(t, canary.URL+"/acme/app.git", nil)
	for _, path := range []string{"/acme/other.git/info/refs?service=git-upload-pack", "/", "/rest/api/latest"} {
		status, body, err := e.get(t, 0, canary.URL+path)
		if err != nil || status != http.StatusForbidden ||
			!strings.Contains(body, "may only fetch its own repository") {
			t.Errorf("%s: got %d %q, error %v, want 403 with the reason", path, status, body, err)
		}
	}
}

// A build whose repository cannot be served still builds.
func TestASourceThatCannotBeServedIsAProblem(t *testing.T) {
	for _, source := range []string{"https://10.0.0.5/acme/app.git", "ssh://git@host/acme/app.git", "https://host/app", ""} {
		e := newEnv(t, source, nil)
		if e.Problem() == "" {
			t.Errorf("%s: got no problem, want one", source)
		}
		if got := e.Sandbox(); len(got.Sites) != 0 || got.Authority != "" {
			t.Errorf("%s: got %+v, want no site", source, got)
		}
	}
}

func TestAfterTheEndNothingAnswers(t *testing.T) {
	e := newEnv(t, "https://bitbucket.org/acme/app.git", nil)
	e.Close()
	const address = "https://bitbucket.org/acme/app.git/info/refs?service=git-upload-pack"
	if status, _, err := e.get(t, 0, address); err == nil {
		t.Errorf("after the end: got status %d, want an error", status)
	}
}

// What hooks get opens the proxy only, and is not the token of the runner protocol.
func TestHooksGetNoTokenOfTheInstallation(t *testing.T) {
	upstream := runnertest.NewRegistry(t)
	e := newEnv(t, "https://bitbucket.org/acme/app.git", image(upstream.Image()))
	logins := e.Logins()
	if len(logins) != 1 || logins[0].Host != upstream.Host() {
		t.Fatalf("logins: got %v, want one for %s", logins, upstream.Host())
	}
	for _, other := range []string{"attempt-token", "gateway-password", ""} {
		if logins[0].Password.Reveal() == other {
			t.Errorf("password of hooks: got %q, want a token of the proxy", other)
		}
	}
	if status, _, err := e.get(t, 0, "https://"+upstream.Host()+"/v2/"); status != http.StatusUnauthorized {
		t.Errorf("without the token: got %d, error %v, want 401", status, err)
	}
}

// An insecure registry may have a certificate of its own. The proxy sends no password over plain HTTP to it.
func TestAnInsecureRegistryWithTLSIsServed(t *testing.T) {
	upstream := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"name":"acme/app","tags":["1.2"]}`)
	}))
	t.Cleanup(upstream.Close)
	host := upstream.Listener.Addr().String()
	served := image(host + "/acme/app")
	served.Login.Insecure = true
	e := newEnv(t, "https://bitbucket.org/acme/app.git", served)
	login := e.Logins()[0]
	address := "https://" + login.Username + ":" + login.Password.Reveal() + "@" + host + "/v2/acme/app/tags/list"
	status, body, err := e.get(t, 0, address)
	if err != nil {
		t.Fatal(err)
	}
	if status != http.StatusOK || !strings.Contains(body, "1.2") {
		t.Errorf("tags: got %d %q, want 200 and the tags of the registry", status, body)
	}
}

func TestDockerHubHasThreeNames(t *testing.T) {
	e := newEnv(t, "https://bitbucket.org/acme/app.git", image("docker.io/acme/app"))
	want := "index.docker.io:443 registry-1.docker.io:443 docker.io:443 bitbucket.org:443"
	if got := strings.Join(e.Sandbox().Sites, " "); got != want {
		t.Errorf("sites: got %s, want %s", got, want)
	}
}

func TestARegistryThatCannotBeServedIsAnError(t *testing.T) {
	_, err := hookproxy.New(t.Context(), hookproxy.Options{
		Image: image("10.0.0.5:5000/acme/app"), End: time.Now().Add(time.Hour), Log: discard.Logger(),
	})
	if err == nil || !strings.Contains(err.Error(), "10.0.0.5:5000 is an address") {
		t.Errorf("got %v, want an error that names the address", err)
	}
}

func TestAListenerThatCannotBeOpenedIsAnError(t *testing.T) {
	e := newEnv(t, "https://bitbucket.org/acme/app.git", nil)
	refused := errors.New("refused")
	err := e.Serve(t.Context(), func(context.Context, int) (net.Listener, error) { return nil, refused })
	if !errors.Is(err, refused) {
		t.Errorf("got %v, want %v", err, refused)
	}
}

func image(name string) *hookproxy.Image {
	return &hookproxy.Image{
		Name:   name,
		Login:  registry.Login{Username: "robot", Password: secret.New("gateway-password")},
		Permit: func(context.Context, string, string) error { return registryproxy.ErrRefused },
	}
}
