package registry_test

import (
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

func TestParseImage(t *testing.T) {
	tests := []struct{ in, want, fault string }{
		{in: "registry.example.com/acme/app", want: "registry.example.com/acme/app"},
		{in: "registry.example.com:5000/app", want: "registry.example.com:5000/app"},
		{in: "localhost:5000/acme/app", want: "localhost:5000/acme/app"},
		{in: "acme/app", want: "docker.io/acme/app"},
		{in: "docker.io/acme/app", want: "docker.io/acme/app"},
		{in: "index.docker.io/acme/app", want: "docker.io/acme/app"},
		{in: "registry-1.docker.io/acme/app", want: "docker.io/acme/app"},
		{in: "busybox", want: "docker.io/library/busybox"},
		{in: "registry.example.com/acme/app:1.2", fault: "tag"},
		{in: "acme/app@sha256:" + strings.Repeat("0", 64), fault: "digest"},
		{in: "acme/App", fault: "valid"},
		{in: "acme/a..b", fault: "valid"},
		{in: "https://registry.example.com/app", fault: "valid"},
		{in: "", fault: "valid"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := registry.ParseImage(tt.in)
			if tt.fault == "" && (err != nil || got != tt.want) {
				t.Errorf("image: got %q, error %v, want %q", got, err, tt.want)
			}
			if tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("image: got %q, error %v, want %q in the error", got, err, tt.fault)
			}
		})
	}
}

func TestLoginFor(t *testing.T) {
	credential := func(host, user string) spec.RegistryCredential {
		return spec.RegistryCredential{
			Host:       host,
			Insecure:   user == "plain",
			Credential: spec.Credential{Username: user, Password: secret.New("p")},
		}
	}
	all := []spec.RegistryCredential{
		credential("registry.example.com/acme", "path"),
		credential("registry.example.com", "host"),
		credential("quay.io", "quay"),
		credential("quay.io/team", "team"),
		credential("https://index.docker.io/v1/", "hub"),
		credential("localhost:5000", "plain"),
	}
	for image, want := range map[string]string{
		"registry.example.com/other/app":    "host",
		"registry.example.com/acme/app":     "path",
		"registry.example.com/acmes/app":    "host",
		"quay.io/team/app":                  "team",
		"registry.example.com.evil.org/app": "",
		"acme/app":                          "hub",
		"docker.io/acme/app":                "hub",
		"localhost:5000/app":                "plain",
		"NOT/legal":                         "",
	} {
		got := registry.LoginFor(image, all)
		if got.Username != want {
			t.Errorf("%s: got the user %q, want %q", image, got.Username, want)
		}
		if insecure := want == "plain"; got.Insecure != insecure {
			t.Errorf("%s: got insecure %t, want %t", image, got.Insecure, insecure)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for image, want := range map[string]string{
		"registry.example.com/acme/app":      "registry.example.com:443 registry.example.com:80",
		"registry.example.com:5000/acme/app": "registry.example.com:5000",
		"127.0.0.1:5000/app":                 "127.0.0.1:5000",
		"acme/app":                           "index.docker.io:443 index.docker.io:80",
		"[fd12::1]:5000/app":                 "[fd12::1]:5000",
	} {
		got, err := registry.Endpoints(image)
		if err != nil {
			t.Errorf("%s: %v", image, err)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
	if _, err := registry.Endpoints("A B"); err == nil {
		t.Error("an invalid name: got no error, want one")
	}
}
