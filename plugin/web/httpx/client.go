package httpx

import (
	"net/netip"

	"github.com/gin-gonic/gin"
)

// ipv6Client is the length of the prefix that counts as one client, in bits: a network's customer
// gets at least that many addresses (RFC 6177), and a machine may use all of them.
const ipv6Client = 64

// ClientAddress returns the address that stands for a client in limits: an IPv4 address, also a
// mapped one, itself, an IPv6 address the first of its /64 without a zone. The zero Addr stays.
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

// Client returns the name of a request's client for a Limiter: its ClientAddress, behind a trusted
// proxy as the proxy names it.
func Client(c *gin.Context) string {
	address, err := netip.ParseAddr(c.ClientIP())
	if err != nil {
		return c.ClientIP() // not a network address, as in tests
	}
	return ClientAddress(address).String()
}
