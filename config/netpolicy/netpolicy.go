// Package netpolicy decides whether the program may connect to an address that comes from outside.
// Examples are the token server that a registry names, the target of a redirect, and the URL of an LFS
// object. Without a policy, such an address may lead to services that only this machine reaches. The
// package imports only the standard library.
package netpolicy

import (
	"cmp"
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

// A RefusedError reports an address that a policy refuses. It wraps ErrRefused.
type RefusedError struct {
	Reason string // the address, the rule and the setting
}

// Error returns the reason.
func (e *RefusedError) Error() string { return ErrRefused.Error() + ": " + e.Reason }

// Unwrap returns ErrRefused.
func (*RefusedError) Unwrap() error { return ErrRefused }

func refused(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// dialTimeout bounds one connection attempt.
const dialTimeout = 30 * time.Second

// A Policy is a set of addresses that the program may connect to. The zero Policy refuses this machine,
// link-local addresses and the metadata services of clouds, and allows private networks. It is
// safe for concurrent use.
type Policy struct {
	// RefusePrivate refuses private networks, too: RFC 1918, RFC 4193, RFC 6598 and RFC 2544.
	RefusePrivate bool
	// Allow names the hosts that the installation configured, for example "registry.example.com:443". They
	// are allowed at any address. The comparison ignores case.
	Allow []string
	// Own are further addresses of this machine. A process in a network namespace does not see them.
	Own []netip.Addr
	// Exceptions are allowed although a rule refuses them. If a network is allowed and another one is
	// refused, the smaller one decides: 100.64.0.0/10 does not allow the metadata service
	// 100.100.100.200, but 100.100.100.200/32 does. They allow the machine's own addresses and its
	// loopback only with OpenOwn.
	Exceptions []Exception
	// OpenOwn lets an exception for one address allow this machine's own address or its loopback. It is
	// for the gateway, which has no network of its own.
	OpenOwn bool
}

// Check returns an error that wraps ErrRefused if the policy refuses the address. IPv4 addresses
// inside IPv6 ones (mapped, translated, compatible, NAT64, 6to4) are checked as IPv4 addresses.
// Exceptions for a port have no effect.
func (p Policy) Check(a netip.Addr) error { return p.CheckPort(netip.AddrPortFrom(a, 0)) }

// CheckPort is like Check, for a connection to a TCP port. The error names the address, the rule and the
// setting that allows the address.
func (p Policy) CheckPort(target netip.AddrPort) error {
	a := target.Addr()
	if !a.IsValid() {
		return refused("the address is invalid")
	}
	a = embedded(a.WithZone(""))
	target = netip.AddrPortFrom(a, target.Port())
	rule := p.ruleFor(target)
	if a.IsLoopback() || a.IsUnspecified() || slices.Contains(p.Own, a) || isOwn(a) {
		return p.checkOwn(target, cmp.Or(rule.Refused, "this machine's own"))
	}
	if rule.Refused == "" {
		return nil
	}
	why := ""
	if rule.Refused == ofUsers {
		why = ", which " + PrivateSetting + " refuses"
	}
	return refused("%s is %s (%s)%s: to allow it, add %s to %s",
		a, rule.Refused, rule.Network, why, entryFor(target), AllowedSetting)
}

// checkOwn is CheckPort for an address of this machine. kind describes the address.
func (p Policy) checkOwn(target netip.AddrPort, kind string) error {
	switch {
	case !p.OpenOwn:
		return refused("%s is %s: builds reach only registries there, with %s",
			target.Addr(), kind, registriesSetting)
	case p.namesOwn(target):
		return nil
	}
	return refused("%s is %s: to allow it, add %s to %s",
		target.Addr(), kind, entryFor(target), AllowedSetting)
}

// entryFor returns the smallest exception for a target.
func entryFor(target netip.AddrPort) Exception {
	a := target.Addr()
	return Exception{Network: netip.PrefixFrom(a, a.BitLen()), Port: target.Port()}
}

// ruleFor returns the rule that decides on a target; the zero Rule allows it.
func (p Policy) ruleFor(target netip.AddrPort) Rule {
	for _, rule := range p.Rules() {
		if rule.Network.Contains(target.Addr()) && (rule.Port == 0 || rule.Port == target.Port()) {
			return rule
		}
	}
	return Rule{}
}

// namesOwn reports whether an exception names exactly this address.
func (p Policy) namesOwn(target netip.AddrPort) bool {
	return slices.ContainsFunc(p.Exceptions, func(e Exception) bool {
		return e.Network.IsSingleIP() && e.Network.Addr() == target.Addr() && (e.Port == 0 || e.Port == target.Port())
	})
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
		return refused("%q", resolved)
	}
	return p.CheckPort(target)
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
