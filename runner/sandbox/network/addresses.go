package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The addresses of our networks. They are not on the internet, and rarely used in companies: RFC 2544
// (benchmarks), and RFC 4193 with a fixed identifier. A build cannot reach a service of the company in
// one of them.
//
// The bridge networks of all routers are the same, because no router can reach another router's bridge.
// The uplinks are interfaces of the host, so each has a pair of addresses of its own.
var (
	bridgeNetwork4 = netip.MustParsePrefix("198.18.0.0/16")
	bridgeNetwork6 = netip.MustParsePrefix("fd73:6c69:7077:1::/64")
	uplinkNetwork4 = netip.MustParsePrefix("198.19.0.0/16")
	uplinkNetwork6 = netip.MustParsePrefix("fd73:6c69:7077:2::/64")
)

// maxUplinks is the number of uplinks of a host. Each has two addresses of uplinkNetwork4.
const maxUplinks = 1 << 15

// bridgeAddress returns the address number n of a bridge network. The gateway is number 1.
func bridgeAddress(network netip.Prefix, n int) netip.Prefix {
	return netip.PrefixFrom(addressAt(network, n), network.Bits())
}

// uplinkAddresses returns the addresses of uplink n at the host's and at the router's end. They are the
// only two of their network.
func uplinkAddresses(network netip.Prefix, n int) (host, router netip.Prefix) {
	bits := network.Addr().BitLen() - 1
	return netip.PrefixFrom(addressAt(network, 2*n), bits), netip.PrefixFrom(addressAt(network, 2*n+1), bits)
}

// addressAt returns the address number n of a network. n is at most 65535.
func addressAt(network netip.Prefix, n int) netip.Addr {
	bytes := network.Addr().AsSlice()
	binary.BigEndian.PutUint16(bytes[len(bytes)-2:], uint16(n)) //nolint:gosec // see above
	address, _ := netip.AddrFromSlice(bytes)
	return address
}

// uplinkLink returns the name of uplink n on the host, for example "slwn01f3".
func uplinkLink(n int) string { return fmt.Sprintf("%s%04x", HostPrefix, n) }
