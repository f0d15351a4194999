package attemptca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Parse reads the certificate of an authority that another process made, for the methods PEM, Bundle and
// Files. It has no certificates of names. Parse fails unless the certificate can sign for the names only:
// its name constraints are critical, and permit no other name.
func Parse(text []byte, names []string) (*Authority, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the attempt's authority is not one certificate in PEM form")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the attempt's authority: %w", err)
	}
	names, err = normalize(names)
	if err != nil {
		return nil, err
	}
	if err := checkAuthority(c, names); err != nil {
		return nil, fmt.Errorf("the attempt's authority %w", err)
	}
	return &Authority{pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})}, nil
}

// checkAuthority checks the fields that authorityTemplate sets.
func checkAuthority(c *x509.Certificate, names []string) error {
	switch {
	case !c.IsCA || !c.BasicConstraintsValid:
		return errors.New("is not a certificate authority")
	case !c.MaxPathLenZero:
		return errors.New("can sign for further authorities")
	case !c.PermittedDNSDomainsCritical:
		return errors.New("has no critical name constraints")
	case time.Now().After(c.NotAfter):
		return errors.New("has expired")
	case len(c.PermittedDNSDomains) == 0:
		return errors.New("can sign for every host name")
	case len(c.PermittedIPRanges) == 0 && len(c.ExcludedIPRanges) != 2:
		return errors.New("can sign for every address")
	}
	for _, name := range c.PermittedDNSDomains {
		if name != noHost && !slices.Contains(names, strings.ToLower(name)) {
			return fmt.Errorf("can sign for %.100q, which is not among its host names", name)
		}
	}
	for _, network := range c.PermittedIPRanges {
		if !slices.ContainsFunc(names, func(name string) bool { return isOneAddress(network, name) }) {
			return fmt.Errorf("can sign for %s, which is not among its addresses", network)
		}
	}
	return checkExcluded(c)
}

// checkExcluded checks that an authority without permitted addresses excludes all.
func checkExcluded(c *x509.Certificate) error {
	if len(c.PermittedIPRanges) > 0 {
		return nil
	}
	for _, network := range c.ExcludedIPRanges {
		if ones, _ := network.Mask.Size(); ones != 0 || !network.IP.IsUnspecified() {
			return errors.New("can sign for some addresses")
		}
	}
	if len(c.ExcludedIPRanges[0].Mask) == len(c.ExcludedIPRanges[1].Mask) {
		return errors.New("can sign for addresses of one version")
	}
	return nil
}

// isOneAddress reports whether a network holds the named address and no other one.
func isOneAddress(network *net.IPNet, name string) bool {
	address, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	ones, bits := network.Mask.Size()
	return bits == address.BitLen() && ones == bits && network.IP.Equal(address.AsSlice())
}
