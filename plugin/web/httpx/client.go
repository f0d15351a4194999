package httpx

import (
	"net/netip"

	"github.com/gin-gonic/gin"
)

// ipv6Client is the length of the prefix that counts as one client, in bits. A customer of a network
// gets at least a /64 (RFC 6177), and one machine can use all its addresses.
const ipv6Client = 64

// ClientAddress returns the address that identifies a client in limits. For IPv4, also mapped to
// IPv6, it is the address itself. For IPv6 it is the first address of the /64, without a zone. The
// zero Addr is returned unchanged.
func ClientAddress(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	prefix, err := a.Prefix(ipv6Client)
	if err != nil {
		return a
	}
	return prefix.Addr()
}

// Client returns the key of a request's client in a Limiter: its ClientAddress. Behind a trusted
// proxy it is the address that the proxy reports.
func Client(c *gin.Context) string {
	address, err := netip.ParseAddr(c.ClientIP())
	if err != nil {
		return c.ClientIP() // not a network address, as in tests
	}
	return ClientAddress(address).String()
}
