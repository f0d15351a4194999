package identity_test

import (
	"crypto/x509"
	"net/url"
	"testing"

	"slipway/config/identity"
)

func TestDomainOf(t *testing.T) {
	foreign := &url.URL{Scheme: "spiffe", Host: "example.com", Path: "/domain"}
	for name, c := range map[string]struct {
		uris []*url.URL
		want string
	}{
		"none":            {nil, identity.DefaultDomain},
		"one":             {[]*url.URL{identity.DomainURI("acme")}, "acme"},
		"a foreign URI":   {[]*url.URL{foreign}, identity.DefaultDomain},
		"one and foreign": {[]*url.URL{foreign, identity.DomainURI("acme")}, "acme"},
		"empty":           {[]*url.URL{identity.DomainURI("")}, identity.DefaultDomain},
		"other scheme":    {[]*url.URL{{Scheme: "other", Opaque: "domain:acme"}}, identity.DefaultDomain},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := identity.DomainOf(&x509.Certificate{URIs: c.uris})
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	two := []*url.URL{identity.DomainURI("acme"), identity.DomainURI("other")}
	if got, err := identity.DomainOf(&x509.Certificate{URIs: two}); err == nil {
		t.Errorf("two domains: got %q, want an error", got)
	}
}
