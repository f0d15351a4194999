package identity

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
)

// DefaultDomain is the cache domain of a client whose certificate names none.
const DefaultDomain = "default"

// domainPrefix begins the opaque part of the URI that names a cache domain in a certificate, for example
// slipway:domain:acme.
const domainPrefix = "domain:"

// DomainURI returns the URI that names a cache domain in the certificate of a client (as a subject
// alternative name).
func DomainURI(domain string) *url.URL {
	return &url.URL{Scheme: "slipway", Opaque: domainPrefix + domain}
}

// DomainOf returns the cache domain in the certificate of a client, or DefaultDomain.
func DomainOf(cert *x509.Certificate) (string, error) {
	var found []string
	for _, uri := range cert.URIs {
		domain, ok := strings.CutPrefix(uri.Opaque, domainPrefix)
		if ok && uri.Scheme == "slipway" && domain != "" {
			found = append(found, domain)
		}
	}
	switch len(found) {
	case 0:
		return DefaultDomain, nil
	case 1:
		return found[0], nil
	}
	return "", errors.New("the certificate names more than one cache domain")
}

// Domain returns the cache domain in the identity's own certificate (DomainOf). The identity must not be
// zero.
func (i Identity) Domain() (string, error) { return DomainOf(i.own.Leaf) }
