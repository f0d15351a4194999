package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"slipway/runner/registry"
)

func TestHasReportsWhetherADigestExists(t *testing.T) {
	f := serve(t)
	digest := f.put(t)
	c := client(registry.Options{Attempts: 2})
	for want, asked := range map[bool]string{true: digest, false: "sha256:" + strings.Repeat("0", 64)} {
		if got, err := c.Has(t.Context(), f.image(), asked, registry.Login{}); err != nil || got != want {
			t.Errorf("Has(%s): got %v, error %v, want %v", asked, got, err, want)
		}
	}
	f.set(basic("ci", "secret"))
	var refused *registry.UnauthorizedError
	if _, err := c.Has(t.Context(), f.image(), digest, registry.Login{}); !errors.As(err, &refused) {
		t.Errorf("Has: got error %v, want an UnauthorizedError", err)
	}
}

// A step waits for each request to a distant registry.
func TestATagNeedsOnePing(t *testing.T) {
	f := serve(t)
	digest := f.put(t)
	f.set(nil)
	if err := client(
		registry.Options{},
	).Tag(t.Context(), f.image(), registry.Manifest{Digest: digest}, "1.2", registry.Login{}); err != nil {
		t.Fatal(err)
	}
	pings := 0
	for _, request := range f.seen() {
		if request == http.MethodGet+" /v2/" {
			pings++
		}
	}
	if pings != 1 {
		t.Errorf("requests: got %q, want one ping", f.seen())
	}
}
