package buildservice_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/buildservice"
)

func TestParseLocalRegistry(t *testing.T) {
	for text, want := range map[string]buildservice.LocalRegistry{
		"127.0.0.1:5000":           {Listen: "127.0.0.1:5000"},
		"127.0.0.2:5000":           {Listen: "127.0.0.2:5000"},
		"[::1]:5000":               {Listen: "[::1]:5000"},
		"localhost:5000":           {Listen: "127.0.0.1:5000"},
		"registry.example.com:443": {Listen: "127.0.0.1:443", Name: "registry.example.com"},
	} {
		want.Address = text
		got, err := buildservice.ParseLocalRegistry(text)
		if err != nil {
			t.Errorf("%s: got error %v, want none", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"", "127.0.0.1", "registry.example.com", ":5000", "a:b", "10.0.0.1:5000", "0.0.0.0:5000"} {
		if got, err := buildservice.ParseLocalRegistry(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}
