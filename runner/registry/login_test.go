package registry_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/registry"
)

// acceptingAda makes a registry that accepts only ada with her password.
func acceptingAda(t *testing.T) (host string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.URL.Path != "/v2/" || user != "ada" || password != "right" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestCheckLogin(t *testing.T) {
	host := acceptingAda(t)
	c := registry.New(registry.Options{})
	if err := c.CheckLogin(
		t.Context(),
		host+"/acme",
		registry.Login{Username: "ada", Password: secret.New("right")},
	); err != nil {
		t.Errorf("the right password: %v", err)
	}
	var refused *registry.UnauthorizedError
	err := c.CheckLogin(t.Context(), host, registry.Login{Username: "ada", Password: secret.New("wrong")})
	if !errors.As(err, &refused) {
		t.Fatalf("wrong password: got %v, want an UnauthorizedError", err)
	}
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: got error %v, want no password in it", err)
	}
	if err := c.CheckLogin(t.Context(), "a b", registry.Login{}); err == nil {
		t.Error("invalid host: got no error, want one")
	}
	if err := c.CheckLogin(t.Context(), "127.0.0.1:1", registry.Login{}); err == nil {
		t.Error("unreachable registry: got no error, want one")
	}
}

func TestParseHost(t *testing.T) {
	for given, want := range map[string]string{
		"registry.example.com":           "registry.example.com",
		" https://ghcr.io/acme/ ":        "ghcr.io/acme",
		"https://index.docker.io/v1/":    "docker.io",
		"127.0.0.1:5000":                 "127.0.0.1:5000",
		"https://r.example.com/v2/":      "r.example.com",
		"https://ada:pw@r.example.com":   "",
		"localhost:5000/team":            "localhost:5000/team",
		"":                               "",
		"a b":                            "",
		"registry.example.com/UPPER":     "",
		"registry.example.com/app:tag":   "",
		"registry.example.com:port/acme": "",
	} {
		got, err := registry.ParseHost(given)
		switch {
		case got != want:
			t.Errorf("ParseHost(%q): got %q, want %q", given, got, want)
		case (err != nil) != (want == ""):
			t.Errorf("ParseHost(%q): got error %v, want one: %t", given, err, want == "")
		case err != nil && strings.Contains(err.Error(), "pw"):
			t.Errorf("ParseHost(%q): got error %v, want no password in it", given, err)
		}
	}
}
