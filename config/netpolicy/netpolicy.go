// Package netpolicy decides whether the program may connect to an address from outside: the token
// server that a registry names, the target of a redirect, the URL of an LFS object. Without such a
// rule each of them leads to services that only this machine reaches. It imports only the standard
// library.
package netpolicy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrRefused is the cause of every refusal. Match it with errors.Is.
var ErrRefused = errors.New("address not allowed")

// dialTimeout bounds one connection attempt.
const dialTimeout = 30 * time.Second

// A Policy is a set of addresses that the program may connect to. The zero Policy refuses this machine,
// link-local addresses and the metadata services of clouds, and allows private networks. It is
// safe for concurrent use.
type Policy struct {
	// RefusePrivate refuses private networks, too: RFC 1918, RFC 4193, RFC 6598 and RFC 2544.
	RefusePrivate bool
	// Allow names the hosts that the installation configured, as "registry.example.com:443".
	// They are allowed at any address. The comparison ignores case.
	Allow []string
}

// special are addresses and networks that no public service has.
// Source: https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry
var special = prefixes(
	"0.0.0.0/8",          // "this network"; Linux connects 0.0.0.0 to loopback
	"192.0.0.0/24",       // protocol assignments; 192.0.0.192 is Oracle Cloud's metadata service
	"192.88.99.0/24",     // relays of 6to4, deprecated
	"240.0.0.0/4",        // reserved, with the broadcast address
	"168.63.129.16/32",   // Azure's host
	"100.100.100.200/32", // Alibaba Cloud's metadata service
	"fd00:ec2::/32",      // Amazon's metadata service and name server over IPv6
	"fd20:ce::/32",       // Google Cloud's metadata service over IPv6
	"fec0::/10",          // site-local, deprecated
	"2001::/32",          // Teredo, which tunnels to an IPv4 address that is written in it
)

// private are the networks that RefusePrivate adds.
var private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7")

func prefixes(all ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, 0, len(all))
	for _, text := range all {
		parsed = append(parsed, netip.MustParsePrefix(text))
	}
	return parsed
}

// Check returns an error that wraps ErrRefused if the policy refuses the address. IPv4 addresses
// inside IPv6 ones (mapped, translated, compatible, NAT64, 6to4) are checked as IPv4 addresses.
func (p Policy) Check(a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("%w: no address", ErrRefused)
	}
	a = embedded(a.WithZone(""))
	kind := ""
	switch {
	case a.IsLoopback():
		kind = "loopback"
	case a.IsUnspecified():
		kind = "unspecified"
	case a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast(), a.IsInterfaceLocalMulticast():
		kind = "link-local"
	case a.IsMulticast():
		kind = "multicast"
	case contains(special, a):
		kind = "reserved or a metadata service"
	case p.RefusePrivate && contains(private, a):
		kind = "private"
	case isOwn(a):
		kind = "this machine's own"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s is %s", ErrRefused, a, kind)
}

// DialContext connects to "host:port" if the policy allows the address that the name resolves
// to. It checks each address after resolution, so a name that changes its address gains nothing. It
// fits http.Transport.DialContext.
func (p Policy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	if !p.isNamed(address) {
		dialer.Control = func(_, resolved string, _ syscall.RawConn) error { return p.checkResolved(resolved) }
	}
	return dialer.DialContext(ctx, network, address)
}

func (p Policy) isNamed(address string) bool {
	return slices.ContainsFunc(p.Allow, func(allowed string) bool { return strings.EqualFold(allowed, address) })
}

func (p Policy) checkResolved(resolved string) error {
	target, err := netip.ParseAddrPort(resolved)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrRefused, resolved)
	}
	return p.Check(target.Addr())
}

// embedded returns the IPv4 address that an IPv6 address carries, else the address itself.
func embedded(a netip.Addr) netip.Addr {
	if a.Is4() || a.Is4In6() {
		return a.Unmap()
	}
	b := a.As16()
	switch {
	case contains(translated, a), contains(compatible, a) && !a.IsLoopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16]))
	case contains(sixToFour, a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

// The IPv6 networks whose addresses carry an IPv4 address.
// Source: RFC 6052, RFC 8215, RFC 7915, RFC 4291 section 2.5.5.1, RFC 3056
var (
	translated = prefixes("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
	compatible = prefixes("::/96")
	sixToFour  = prefixes("2002::/16")
)

func contains(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// isOwn reports whether one of this machine's interfaces has the address. Services that listen
// on all addresses answer there as they do on loopback. If the interfaces cannot be listed, every
// address counts as the machine's own.
func isOwn(a netip.Addr) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addresses, func(own net.Addr) bool {
		prefix, err := netip.ParsePrefix(own.String())
		return err == nil && prefix.Addr().Unmap() == a
	})
}
