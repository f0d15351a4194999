package sandbox

import (
	"net"
	"net/url"

	"golang.org/x/net/http/httpproxy"
)

// ProxyAddresses returns the addresses of the proxies in this process's environment, as host:port. It reads
// an address without a scheme as that of an HTTP proxy, as net/http does.
func ProxyAddresses() []string { return proxyAddresses(httpproxy.FromEnvironment()) }

func proxyAddresses(c *httpproxy.Config) []string {
	var addresses []string
	for _, text := range []string{c.HTTPProxy, c.HTTPSProxy} {
		if text == "" {
			continue
		}
		proxy, err := url.Parse(text)
		if err != nil || proxy.Host == "" {
			proxy, err = url.Parse("http://" + text)
		}
		if err != nil {
			continue // the transport reports it
		}
		port := proxy.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
		}
		addresses = append(addresses, net.JoinHostPort(proxy.Hostname(), port))
	}
	return addresses
}
