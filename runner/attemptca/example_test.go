package attemptca_test

import (
	"crypto/x509"
	"fmt"
	"time"

	"slipway/runner/attemptca"
)

// The authority of an attempt signs for the attempt's hosts, and for no others.
func ExampleNew() {
	authority, err := attemptca.New([]string{"registry.example.com"}, time.Now().Add(time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}
	config, err := authority.TLSConfig("registry.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	roots := x509.NewCertPool()
	fmt.Println("authority in PEM:", roots.AppendCertsFromPEM(authority.PEM()))
	leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "registry.example.com"})
	fmt.Println("verified:", err == nil)

	_, err = authority.TLSConfig("evil.example.com")
	fmt.Println(err)
	// Output:
	// authority in PEM: true
	// verified: true
	// certificate of the attempt: "evil.example.com" is not among its host names
}
