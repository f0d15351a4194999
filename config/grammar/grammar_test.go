package grammar_test

import (
	"strings"
	"testing"

	"slipway/config/grammar"
)

func TestForms(t *testing.T) {
	for name, form := range map[string]struct {
		is    func(string) bool
		valid []string
		other []string
	}{
		"platform": {
			grammar.IsPlatform,
			[]string{"linux/amd64", "linux/arm/v7", "windows/x86_64"},
			[]string{"", "linux", "linux/", "Linux/amd64", "linux/arm/v7/x", "linux/amd64\n"},
		},
		"variable": {
			grammar.IsVariable,
			[]string{"A", "_x1", "HTTP_PROXY", strings.Repeat("A", 500)},
			[]string{"", "1A", "A-B", "A=B", "Ä", "A\n"},
		},
		"commit": {
			grammar.IsCommit,
			[]string{strings.Repeat("0f", 20)},
			[]string{"", strings.Repeat("0f", 19), strings.Repeat("0F", 20), strings.Repeat("0f", 32)},
		},
	} {
		for _, s := range form.valid {
			if !form.is(s) {
				t.Errorf("%q is a %s: got false, want true", s, name)
			}
		}
		for _, s := range form.other {
			if form.is(s) {
				t.Errorf("%q is a %s: got true, want false", s, name)
			}
		}
	}
}

func TestImageHost(t *testing.T) {
	for name, want := range map[string]string{
		"registry.example.com:5000/acme/app": "registry.example.com:5000",
		"docker.io/acme":                     "docker.io",
		"ghcr.io":                            "ghcr.io",
	} {
		if got := grammar.ImageHost(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestCheckBuildable(t *testing.T) {
	for platform, want := range map[string]string{
		"linux/amd64":     "",
		"linux/amd64/v3":  "",
		"linux/arm/v7":    "",
		"linux/arm64":     "",
		"linux/arm64/v8":  "",
		"linux/386":       "",
		"linux/riscv64":   "",
		"linux/s390x":     "",
		"linux/ppc64le":   "",
		"amd64":           "not a platform",
		"linux":           "not a platform",
		"Linux/amd64":     "not a platform",
		"windows/amd64":   "builders build for linux only",
		"windows/foo":     "builders build for linux only",
		"darwin/arm64":    "builders build for linux only",
		"linux/foo":       "foo is none of 386, amd64",
		"linux/x86_64":    "x86_64 is none of",
		"linux/arm/v9":    "v9 is none of arm's variants v5, v6, v7, v8",
		"linux/riscv64/x": "riscv64 has no variants",
	} {
		err := grammar.CheckBuildable(platform)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: got %v, want no error", platform, err)
		case want != "" && err == nil:
			t.Errorf("%s: got no error, want %q in one", platform, want)
		case want != "" && !strings.Contains(err.Error(), want):
			t.Errorf("%s: got %q, want %q in it", platform, err, want)
		}
	}
}

func TestSplitReference(t *testing.T) {
	for reference, want := range map[string][3]string{
		"app":                                  {"app", "", ""},
		"acme/app:1.2":                         {"acme/app", "1.2", ""},
		"registry.example.com:5000/acme/app":   {"registry.example.com:5000/acme/app", "", ""},
		"registry.example.com:5000/app:1":      {"registry.example.com:5000/app", "1", ""},
		"app@sha256:abc":                       {"app", "", "sha256:abc"},
		"registry.example.com:5000/a:1@md5:ab": {"registry.example.com:5000/a", "1", "md5:ab"},
		"":                                     {"", "", ""},
	} {
		name, tag, digest := grammar.SplitReference(reference)
		if got := [3]string{name, tag, digest}; got != want {
			t.Errorf("%q: got %q, want %q", reference, got, want)
		}
	}
}
