package source

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"slipway/config/secret"
)

// A Proxy is the gateway's git proxy. It serves only the build's repository while the attempt is active,
// so that the runner does not get the linked account's token.
type Proxy struct {
	URL   string        // <gateway>/git/{build}, without a trailing slash
	Token secret.Secret // the attempt's
}

// access returns the settings that make a fetch from an address go through the proxy. Use them only in
// the environment of that fetch. Then the tree's configuration keeps the address. Also, no argument
// contains the token, and any user of the machine may read arguments.
// Source: https://git-scm.com/docs/git-config#Documentation/git-config.txt-urlltbasegtinsteadOf
func (p Proxy) access(address string) []setting {
	settings := []setting{
		{"url." + p.URL + ".insteadOf", address},
		{"http." + p.URL + "/.extraHeader", "Authorization: Bearer " + p.Token.Reveal()},
	}
	if u, err := url.Parse(p.URL); err == nil && isLoopback(u.Hostname()) {
		// Like Go, use no HTTP proxy for a gateway on this machine.
		settings = append(settings, setting{"http." + p.URL + "/.proxy", ""})
	}
	return settings
}

// lfs returns the setting that makes git-lfs use the proxy. Every command that may run filters needs it:
// git-lfs ignores GIT_ALLOW_PROTOCOL, so a pushed .lfsconfig could otherwise start ssh or a file transfer.
func (p Proxy) lfs() []setting { return []setting{{"lfs.url", p.URL + "/info/lfs"}} }

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

// sameRepository reports whether a submodule's address is that of the build's own repository: the same
// host and the same path, with or without .git. It ignores the scheme, the user and a default port. Only
// such a submodule is fetched through the proxy. git's insteadOf is not enough, because it compares
// prefixes and misses many spellings.
func sameRepository(given, origin string) bool {
	a, okA := repositoryKey(given)
	b, okB := repositoryKey(origin)
	return okA && okB && a == b
}

// repositoryKey returns "host[:port]/path" for an address in any form that git accepts.
func repositoryKey(given string) (string, bool) {
	u, err := url.Parse(expandSCP(given))
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	scheme := strings.TrimPrefix(u.Scheme, "git+") // git+ssh and ssh+git are old names of ssh
	if scheme == "ssh+git" {
		scheme = "ssh"
	}
	defaultPort, known := map[string]string{"https": "443", "http": "80", "ssh": "22"}[scheme]
	if !known {
		return "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	// Bitbucket Cloud serves ssh on port 443 of another host.
	// Source: https://support.atlassian.com/bitbucket-cloud/docs/troubleshoot-ssh-issues/
	if scheme == "ssh" && host == "altssh.bitbucket.org" && port == "443" {
		host, port = "bitbucket.org", ""
	}
	if port == defaultPort {
		port = ""
	}
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	return host + "/" + strings.TrimSuffix(path, "/"), path != ""
}
