// Package netpolicy decides whether the program may connect to an address that comes from outside.
// Examples are the token server that a registry names, the target of a redirect, and the URL of an LFS
// object. Without a policy, such an address may lead to services that only this machine reaches. The
// package imports only the standard library.
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
	// Own are further addresses of this machine. A process in a network namespace does not see them.
	Own []netip.Addr
	// AllowNetworks are networks that the installation configured. If a network is allowed and another
	// one is refused, the smaller one decides: 100.64.0.0/10 does not allow the metadata service
	// 100.100.100.200, but 100.100.100.200/32 does. They never allow the machine's own addresses.
	AllowNetworks []netip.Prefix
}

// Check returns an error that wraps ErrRefused if the policy refuses the address. IPv4 addresses
// inside IPv6 ones (mapped, translated, compatible, NAT64, 6to4) are checked as IPv4 addresses.
func (p Policy) Check(a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("%w: no address", ErrRefused)
	}
	a = embedded(a.WithZone(""))
	kind := p.refusal(a)
	if kind == "" && (slices.Contains(p.Own, a) || isOwn(a)) {
		kind = "this machine's own"
	}
	if kind == "" {
		return nil
	}
	return fmt.Errorf("%w: %s is %s", ErrRefused, a, kind)
}

// refusal returns the kind of the address if a rule refuses it, else "".
func (p Policy) refusal(a netip.Addr) string {
	for _, rule := range p.Rules() {
		if rule.Network.Contains(a) {
			return rule.Refused
		}
	}
	return ""
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
