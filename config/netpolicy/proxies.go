package netpolicy

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
)

// ProxyAddresses returns the addresses of the proxies in this process's environment, in the form host:port. They are
// HTTP_PROXY and HTTPS_PROXY, as net/http reads them.
func ProxyAddresses() []string {
	var addresses []string
	for _, scheme := range []string{"http", "https"} {
		// The host is one that NO_PROXY does not name.
		target := &http.Request{URL: &url.URL{Scheme: scheme, Host: "proxy-of.invalid"}}
		proxy, err := http.ProxyFromEnvironment(target)
		if err != nil || proxy == nil {
			continue // the transport reports an error
		}
		if address := hostPort(proxy); !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// defaultPorts are the ports that a URL may leave out, by scheme.
func defaultPorts() map[string]string {
	return map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
}

// hostPort returns the host and the port of a URL, in the form host:port.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPorts()[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// Transport returns a copy of a transport that connects only to addresses that the policy allows, and to the
// proxies of this process's environment. For a request through a proxy, it checks the addresses of the
// URL's host. That has no effect if the proxy resolves the name to another address.
func (p Policy) Transport(base *http.Transport) http.RoundTripper {
	p.Allow = append(ProxyAddresses(), p.Allow...)
	base = base.Clone()
	base.DialContext = p.DialContext
	return guardedTransport{policy: p, base: base}
}

type guardedTransport struct {
	policy Policy
	base   *http.Transport
}

var _ http.RoundTripper = guardedTransport{}

// RoundTrip implements http.RoundTripper.
func (g guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as RoundTripper requires
		}
		return nil, err
	}
	return g.base.RoundTrip(r)
}

// check returns an error if the request goes through a proxy, and the policy refuses an address of its host.
func (g guardedTransport) check(r *http.Request) error {
	if g.base.Proxy == nil {
		return nil
	}
	proxy, err := g.base.Proxy(r)
	if err != nil || proxy == nil {
		return nil //nolint:nilerr // the transport reports it
	}
	return g.policy.checkHost(r.Context(), hostPort(r.URL))
}

// checkHost returns an error if the policy refuses an address of "host:port". A name that only the proxy can
// resolve is allowed.
func (p Policy) checkHost(ctx context.Context, address string) error {
	if p.isNamed(address) {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		number = 0 // the transport reports it
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil //nolint:nilerr // only the proxy can resolve it
	}
	for _, address := range addresses {
		if err := p.CheckPort(netip.AddrPortFrom(address, uint16(number))); err != nil {
			return err
		}
	}
	return nil
}
