package server

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/util/resolver"
	resolverconfig "github.com/moby/buildkit/util/resolver/config"
	"github.com/moby/buildkit/util/tracing"

	"slipway/runner/buildkit"
	"slipway/runner/registry"
)

// registryHosts returns the hosts of registries with their clients. The builder of a builder service
// connects only to addresses that a policy allows. Other builders use BuildKit's clients, because they
// may run beside a registry, in the network of a CI's step. Insecure registries have clients of their own.
func (c Config) registryHosts() docker.RegistryHosts {
	hosts := resolver.NewRegistryConfig(c.registries())
	policy := c.policy()
	policy.Allow = c.LocalRegistries
	clients := &registryClients{
		certs:  cmp.Or(c.Certs, registry.CertsDir),
		dialer: dialer{policy: policy, refused: buildkit.RefusedRegistry},
		open:   !c.hasPolicy(),
		byHost: map[clientKey]*http.Client{},
	}
	return func(name string) ([]docker.RegistryHost, error) {
		all, err := hosts(name)
		for i := range all {
			insecure := all[i].Host == name && slices.Contains(c.InsecureRegistries, name)
			if err != nil || (clients.open && !insecure) {
				continue
			}
			certs := all[i].Host
			if certs == dockerHub {
				certs = name
			}
			if insecure {
				all[i].Scheme = "https" // or plain HTTP, as the client finds out
			}
			all[i].Client, err = clients.get(certs, insecure)
		}
		return all, err
	}
}

// hasPolicy reports whether the server connects only to addresses that its policy allows.
func (c Config) hasPolicy() bool { return c.Environment.Network.Given }

// dockerHub is the host of the registry with the name docker.io.
const dockerHub = "registry-1.docker.io"

// registryClients are the clients of registries. It is safe for concurrent use.
type registryClients struct {
	certs  string // directory of certificates
	dialer dialer
	open   bool // connect to every address

	mu     sync.Mutex
	byHost map[clientKey]*http.Client
}

// A clientKey identifies a client: an empty host is any host without certificates.
type clientKey struct {
	host     string
	insecure bool
}

// get returns the client for the host with a directory of certificates. Hosts without one share a client.
func (r *registryClients) get(host string, insecure bool) (*http.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	config, err := registry.TLSConfigIn(r.certs, host)
	if err != nil {
		return nil, fmt.Errorf("certificates for %s: %w", host, err)
	}
	if config == nil {
		host = ""
	}
	key := clientKey{host, insecure}
	if known := r.byHost[key]; known != nil {
		return known, nil
	}
	if insecure {
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		config.InsecureSkipVerify = true
	}
	var transport http.RoundTripper = newTransport(config)
	if !r.open {
		transport = r.dialer.transport(config)
	}
	if insecure {
		transport = newInsecureTransport(transport)
	}
	client := &http.Client{Transport: tracing.NewTransport(transport)}
	r.byHost[key] = client
	return client, nil
}

// registries returns BuildKit's configuration of each registry by host. BuildKit uses plain HTTP for
// loopback hosts without configuration, so a loopback host with certificates is set to HTTPS.
func (c Config) registries() map[string]resolverconfig.RegistryConfig {
	all := map[string]resolverconfig.RegistryConfig{}
	plain := func(host string, yes bool) {
		one := all[host]
		one.PlainHTTP = &yes
		all[host] = one
	}
	certs := cmp.Or(c.Certs, registry.CertsDir)
	folders, _ := os.ReadDir(certs) // the directory is missing on most machines
	for _, folder := range folders {
		all[folder.Name()] = resolverconfig.RegistryConfig{TLSConfigDir: []string{filepath.Join(certs, folder.Name())}}
		plain(folder.Name(), false)
	}
	for _, host := range c.InsecureRegistries {
		plain(host, true)
	}
	for _, mirror := range c.Mirrors {
		of, place, scheme := splitMirror(mirror)
		one := all[of]
		one.Mirrors = append(one.Mirrors, place)
		all[of] = one
		if scheme != "" {
			host, _, _ := strings.Cut(place, "/")
			plain(host, scheme == "http")
		}
	}
	return all
}

// splitMirror splits the address of a mirror into the registry that it mirrors, its host and path, and the
// scheme. The address is https://host, http://host, or only host (scheme ""), each with or without a path.
// A mirror of another registry than Docker Hub has the registry before it: quay.io=https://host.
func splitMirror(mirror string) (of, place, scheme string) {
	of, address, found := strings.Cut(mirror, "=")
	if !found {
		of, address = "docker.io", mirror
	}
	if host, err := registry.ParseHost(of); err == nil {
		of = host // docker.io for index.docker.io
	}
	scheme, place, found = strings.Cut(address, "://")
	if !found {
		scheme, place = "", address
	}
	return of, strings.TrimSuffix(place, "/"), scheme
}

// checkHosts checks the addresses of mirrors and name servers.
func (c Config) checkHosts() error {
	for _, mirror := range c.Mirrors {
		of, place, scheme := splitMirror(mirror)
		_, ofErr := registry.ParseHost(of)
		_, err := registry.ParseHost(place)
		if ofErr != nil || err != nil || (scheme != "" && scheme != "http" && scheme != "https") {
			return fmt.Errorf(
				"builder: the mirror %q is not a registry address: use https://host, http://host or host",
				mirror,
			)
		}
	}
	for _, server := range c.DNS {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("builder: the name server %q is not an IP address", server)
		}
	}
	return nil
}

// dns returns the configured name servers of RUN steps, else the name servers of their network. nil
// means the machine's resolvers.
func (c Config) dns(network *oci.DNSConfig) *oci.DNSConfig {
	if len(c.DNS)+len(c.DNSSearch) == 0 {
		return network
	}
	own := &oci.DNSConfig{Nameservers: c.DNS, SearchDomains: c.DNSSearch}
	if len(c.DNS) == 0 && network != nil {
		own.Nameservers = network.Nameservers
	}
	return own
}
