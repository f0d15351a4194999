package spec_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipway/config/secret"
	"slipway/runner/spec"
)

func valid() spec.Spec {
	return spec.Spec{
		BuildID: "b1", Number: 7, Attempt: 1, Repository: "acme/app",
		Source: spec.Source{
			URL: "https://bitbucket.org/acme/app.git", Ref: "refs/tags/v1.2", RefName: "v1.2",
			Commit: strings.Repeat("a", 40), Message: "Release \"1.2\"\n\nwith $(id)\n",
		},
		Image: "registry.example.com:5000/acme/app", Tags: []string{"1.2", "1", "latest"},
		Dockerfile: "docker/Dockerfile", Context: ".", BuildArgs: map[string]string{"VERSION": "1.2"},
		Platforms: []string{"linux/amd64", "linux/arm/v7"}, Caching: true, Publish: true, Timeout: time.Hour,
		Registries: []spec.RegistryCredential{
			{
				Host: "registry.example.com:5000", Insecure: true,
				Credential: spec.Credential{Username: "pusher", Password: secret.New("registry-canary")},
			},
			{
				Host:       "docker.io",
				PullOnly:   true,
				Credential: spec.Credential{Username: "reader", Password: secret.New("registry-canary")},
			},
		},
		PushHooks:   true,
		Environment: map[string]secret.Secret{"NPM_TOKEN": secret.New("environment-canary")},
		BuilderTLS:  secret.New("builder-canary"),
	}
}

func TestValidSpecs(t *testing.T) {
	tests := map[string]func(*spec.Spec){
		"as it is":      func(*spec.Spec) {},
		"SHA-256":       func(s *spec.Spec) { s.Source.Commit = strings.Repeat("0", 64) },
		"O3 branch":     func(s *spec.Spec) { s.Source.Ref = "refs/heads/--upload-pack=x" },
		"O3 shell":      func(s *spec.Spec) { s.Source.Ref = "refs/heads/a;id$(id)`id`|b" },
		"short image":   func(s *spec.Spec) { s.Image = "acme/app" },
		"IPv6 registry": func(s *spec.Spec) { s.Image = "[::1]:5000/acme/app" },
		"double dashes": func(s *spec.Spec) { s.Image = "localhost/a--b/c__d/e.f" },
		"test only":     func(s *spec.Spec) { s.Publish, s.Tags = false, nil },
		"built before":  func(s *spec.Spec) { s.BuiltDigest = "sha256:" + strings.Repeat("0", 64) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := valid()
			change(&s)
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultsNameTheirField(t *testing.T) {
	tests := []struct {
		field  string
		change func(*spec.Spec)
	}{
		{"build_id", func(s *spec.Spec) { s.BuildID = "" }},
		{"attempt", func(s *spec.Spec) { s.Attempt = 0 }},
		{"timeout", func(s *spec.Spec) { s.Timeout = 0 }},
		{"source.url", func(s *spec.Spec) { s.Source.URL = "ext::sh -c id" }},
		{"source.url", func(s *spec.Spec) { s.Source.URL = "https://user:pass@bitbucket.org/a/b" }},
		{"source.url", func(s *spec.Spec) { s.Source.URL = "file:///etc" }},
		{"source.url", func(s *spec.Spec) { s.Source.URL = "--upload-pack=id" }},
		{"source.commit", func(s *spec.Spec) { s.Source.Commit = "abc1234" }},
		{"source.commit", func(s *spec.Spec) { s.Source.Commit = strings.Repeat("A", 40) }},
		{"source.commit", func(s *spec.Spec) { s.Source.Commit = strings.Repeat("a", 40) + "\n" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "main" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "--upload-pack=x" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/main" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/heads/a..b" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/heads/a b" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/heads/a\x00b" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/heads//b" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/heads/.b" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/heads/b.lock" }},
		{"source.ref", func(s *spec.Spec) { s.Source.Ref = "refs/heads/b@{1}" }},
		{"source.ref_name", func(s *spec.Spec) { s.Source.RefName = "a\nb" }},
		{"image", func(s *spec.Spec) { s.Image = "registry.example.com/acme/app:1.2" }},
		{"image", func(s *spec.Spec) { s.Image = "registry.example.com/Acme/app" }},
		{"image", func(s *spec.Spec) { s.Image = "acme/app@sha256:" + strings.Repeat("0", 64) }},
		{"image", func(s *spec.Spec) { s.Image = "https://registry.example.com/app" }},
		{"image", func(s *spec.Spec) { s.Image = "" }},
		{"image", func(s *spec.Spec) { s.Image = strings.Repeat("a", 256) }},
		{"tags", func(s *spec.Spec) { s.Tags = nil }},
		{"tags", func(s *spec.Spec) { s.Tags = []string{"-rc"} }},
		{"tags", func(s *spec.Spec) { s.Tags = []string{"a/b"} }},
		{"tags", func(s *spec.Spec) { s.Tags = []string{strings.Repeat("a", 129)} }},
		{"built_digest", func(s *spec.Spec) { s.BuiltDigest = "latest" }},
		{"dockerfile", func(s *spec.Spec) { s.Dockerfile = "../Dockerfile" }},
		{"dockerfile", func(s *spec.Spec) { s.Dockerfile = "/etc/passwd" }},
		{"dockerfile", func(s *spec.Spec) { s.Dockerfile = "." }},
		{"dockerfile", func(s *spec.Spec) { s.Dockerfile = "a/../../x" }},
		{"dockerfile", func(s *spec.Spec) { s.Dockerfile = "a\x00b" }},
		{"dockerfile", func(s *spec.Spec) { s.Dockerfile = `a\b` }},
		{"context", func(s *spec.Spec) { s.Context = "" }},
		{"context", func(s *spec.Spec) { s.Context = ".." }},
		{"context", func(s *spec.Spec) { s.Context = "svc/" }},
		{"build_args", func(s *spec.Spec) { s.BuildArgs = map[string]string{"A=B": ""} }},
		{"platforms", func(s *spec.Spec) { s.Platforms = []string{"amd64"} }},
	}
	for _, tt := range tests {
		t.Run(tt.field, func(t *testing.T) {
			s := valid()
			tt.change(&s)
			var fault *spec.FieldError
			if err := s.Validate(); !errors.As(err, &fault) || fault.Field != tt.field {
				t.Errorf("Validate: got error %v, want one of field %s", err, tt.field)
			}
		})
	}
}

func TestValidateReturnsAllFaults(t *testing.T) {
	err := spec.Spec{}.Validate()
	for _, field := range []string{"build_id", "attempt", "timeout", "source.url", "source.commit", "source.ref", "image", "dockerfile", "context"} {
		if !strings.Contains(err.Error(), field+": ") {
			t.Errorf("got error %v, want field %s in it", err, field)
		}
	}
}

// O5: no valid path leaves the root.
func TestValidPathsStayBelowTheRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := valid()
		s.Context = rapid.StringMatching(`[./a\\ ]{0,12}`).Draw(t, "context")
		if s.Validate() != nil {
			return
		}
		depth := 0
		for _, part := range strings.Split(s.Context, "/") {
			if part == ".." {
				depth--
			}
			if depth < 0 || part == "" {
				t.Fatalf("context: got %q, want an error or a path inside the tree", s.Context)
			}
		}
	})
}
