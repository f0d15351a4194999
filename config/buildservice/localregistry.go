package buildservice

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// A LocalRegistry is a registry on the machine of a builder service. The names of its images begin with its
// host and port.
type LocalRegistry struct {
	Address string // host:port, for example 127.0.0.1:5000, localhost:5000 or registry.example.com:443
	Name    string // the host, if it is a name other than localhost
	Listen  string // its address in the network of a builder, for example 127.0.0.1:5000
}

// ParseLocalRegistry parses an address. The host is a name, or an address of the loopback: builds reach no
// other address of the machine.
func ParseLocalRegistry(text string) (LocalRegistry, error) {
	host, port, err := net.SplitHostPort(text)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	if err != nil || notNumber != nil || number == 0 || host == "" {
		return LocalRegistry{}, fmt.Errorf(
			"%q is not a host and a port: set them, for example 127.0.0.1:5000 or registry.example.com:443",
			text,
		)
	}
	r := LocalRegistry{Address: text, Listen: text}
	address, err := netip.ParseAddr(host)
	switch {
	case err == nil && !address.IsLoopback():
		return LocalRegistry{}, fmt.Errorf(
			"%q: builds do not reach this address: set a name, or an address of the loopback",
			text,
		)
	case err == nil:
		return r, nil
	case host != "localhost":
		r.Name = host
	}
	r.Listen = net.JoinHostPort("127.0.0.1", port)
	return r, nil
}
