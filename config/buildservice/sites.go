package buildservice

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// SandboxBundle is the file of a sandbox with the certificates that its programs trust, in PEM form. It
// exists if the Sandbox has an Authority.
const SandboxBundle = "/.slipway/certificates.pem"

// MaxSites bounds the servers that a runner serves in a sandbox. Docker Hub has three names.
const MaxSites = 8

// maxAuthority bounds a certificate in PEM form, in bytes. A certificate for eight names has about 2 KB.
const maxAuthority = 16 << 10

// A Sandbox asks for the sandbox for build hooks.
type Sandbox struct {
	// Sites are servers that the runner serves to the sandbox in place of the real ones, for example
	// "registry.example.com:443". There are at most MaxSites. Each is a host name in lower case or a
	// loopback address, with a port. Listen opens them.
	Sites []string `json:"sites,omitempty"`
	// Authority is a certificate in PEM form that the programs trust besides the system's; empty = none.
	// It must be an authority that can sign for the sites' names only.
	Authority string `json:"authority,omitempty"`
}

// A Listen asks for the listener of a site inside the sandbox's network.
type Listen struct {
	Site int `json:"site"` // index in Sandbox.Sites
}

// A Site is a server that the runner serves in a sandbox.
type Site struct {
	Host string
	// Address is where programs in the sandbox find the server. It is a loopback address of the sandbox.
	Address netip.AddrPort
}

// Named reports whether the file /etc/hosts has to map the host to the address.
func (s Site) Named() bool {
	_, err := netip.ParseAddr(s.Host)
	return err != nil && s.Host != localhost
}

const localhost = "localhost"

// Plan checks the request, and gives each site an address. All ports of one host have the same address.
func (s Sandbox) Plan() ([]Site, error) {
	if len(s.Sites) > MaxSites {
		return nil, fmt.Errorf("the sandbox has %d sites: at most %d are allowed", len(s.Sites), MaxSites)
	}
	if len(s.Authority) > maxAuthority {
		return nil, fmt.Errorf("the authority has %d bytes: at most %d are allowed", len(s.Authority), maxAuthority)
	}
	sites := make([]Site, 0, len(s.Sites))
	var hosts []string
	for _, text := range s.Sites {
		host, port, err := parseSite(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
		site := Site{host, netip.AddrPortFrom(siteAddress(host, slices.Index(hosts, host)), port)}
		if slices.Contains(sites, site) {
			return nil, fmt.Errorf("the site %s is set twice", text)
		}
		sites = append(sites, site)
	}
	return sites, nil
}

// siteAddress returns the loopback address for a host. An IP address stays as it is, and each name gets
// an address of its own. Names do not use 127.0.0.1, so they do not conflict with programs that listen
// there.
func siteAddress(host string, number int) netip.Addr {
	if address, err := netip.ParseAddr(host); err == nil {
		return address
	}
	if host == localhost {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{127, 77, 0, byte(number + 1)}) //nolint:gosec // at most MaxSites
}

var siteLabel = regexp.MustCompile(`^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$`)

// parseSite returns the host and the port of a site.
func parseSite(text string) (host string, port uint16, err error) {
	invalid := fmt.Errorf("the site %.300q is invalid: set a host name in lower case with a port", text)
	if address, err := netip.ParseAddrPort(text); err == nil {
		if !address.Addr().IsLoopback() || address.Addr().Is4In6() || address.Addr().Zone() != "" {
			return "", 0, fmt.Errorf("the site %s is an address: a host name or a loopback address is needed", address)
		}
		return address.Addr().String(), address.Port(), portError(address.Port(), invalid)
	}
	host, digits, _ := strings.Cut(text, ":")
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(host) == 0 || len(host) > 253 {
		return "", 0, invalid
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !siteLabel.MatchString(label) {
			return "", 0, invalid
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", 0, invalid
	}
	return host, uint16(number), portError(uint16(number), invalid)
}

func portError(port uint16, invalid error) error {
	if port == 0 {
		return invalid
	}
	return nil
}
