package identity

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
)

// ErrNeeded is CheckAddress's answer where the client must be somebody.
var ErrNeeded = errors.New("a builder on another machine takes only clients with a certificate: `slipway builder keys` makes them")

// CheckAddress checks a builder's address: unix:///path, or tcp://host:port. ErrNeeded when
// who is nobody and the connection would leave this machine.
func CheckAddress(address string, who Identity) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "":
	case u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		return nil
	case u.Scheme == "tcp" && u.Hostname() != "" && u.Port() != "" && u.Path == "":
		if who.IsZero() && !isLoopback(u.Hostname()) {
			return ErrNeeded
		}
		return nil
	}
	return fmt.Errorf("%q is no address of a builder: give it as unix:///run/slipway/builder.sock or tcp://builder.example.com:9443", address)
}

// Encrypts reports whether a client that is somebody shows it at an address.
func Encrypts(address string, who Identity) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "tcp" && !who.IsZero()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
