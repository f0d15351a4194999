package settings

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"slipway/runner/registry"
	"slipway/runner/settings/table"
)

// configTOML is the setting with the text of a buildkitd.toml.
const configTOML = "PLUGIN_BUILDKIT_CONFIG"

// A Certificate is the TLS configuration of a registry. Its paths are absolute, or from the workspace.
type Certificate struct {
	Host        string   // for example registry.example.com:5000
	Authorities []string // PEM files of certificate authorities, in addition to the machine's
	Pairs       []KeyPair
	Origin      string // the setting that it came from, for errors
}

// A KeyPair is a client certificate.
type KeyPair struct{ Certificate, Key string }

// A buildkitConfig holds the parts of a buildkitd.toml that a step uses.
// https://docs.docker.com/build/buildkit/toml-configuration/
type buildkitConfig struct {
	Registries map[string]registryConfig `toml:"registry"`
	DNS        struct {
		Servers []string `toml:"nameservers"`
		Search  []string `toml:"searchDomains"`
	} `toml:"dns"`
}

type registryConfig struct {
	Mirrors     []string `toml:"mirrors"`
	HTTP        *bool    `toml:"http"`
	Insecure    *bool    `toml:"insecure"`
	Authorities []string `toml:"ca"`
	Pairs       []struct {
		Key         string `toml:"key"`
		Certificate string `toml:"cert"`
	} `toml:"keypair"`
}

// registryKeys returns the keys of a registry in a buildkitd.toml that a step honors.
func registryKeys() []string { return []string{"mirrors", "http", "insecure", "ca", "keypair"} }

// unusedSections returns the keys of a buildkitd.toml that do not change the image. They configure a daemon.
func unusedSections() []string {
	return []string{
		"root", "debug", "trace", "log", "grpc", "otel", "history", "system", "worker", "frontend", "cache", "cdi",
		"provenanceEnvDir",
	}
}

func buildkitTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name:   configTOML,
			Masked: true, // it may hold a registry's password
			Help: "text of a buildkitd.toml: of each registry mirrors, http, insecure, ca and keypair, and the name servers; " +
				"paths are absolute, or from the workspace",
			Set: (*stepReader).setBuildkitConfig,
		},
	}
}

// setBuildkitConfig reads a buildkitd.toml. The errors show keys, and no values.
func (r *stepReader) setBuildkitConfig(name, text string) error {
	var all map[string]any
	var config buildkitConfig
	if err := errors.Join(toml.Unmarshal([]byte(text), &all), toml.Unmarshal([]byte(text), &config)); err != nil {
		return fmt.Errorf("%s is not a buildkitd.toml%s", name, placeOf(err))
	}
	unused, err := checkSections(name, all)
	if err != nil {
		return err
	}
	if unused != nil {
		r.warn("%s: not used: %s; there is no buildkitd (docs/migrate-step.md)", name, strings.Join(unused, ", "))
	}
	if err := r.local.addNameServers(name, config); err != nil {
		return err
	}
	for _, host := range slices.Sorted(maps.Keys(config.Registries)) {
		err = errors.Join(err, r.addRegistryConfig(name, host, config.Registries[host]))
	}
	return err
}

// placeOf returns the place of a syntax error.
func placeOf(err error) string {
	var syntax *toml.DecodeError
	if !errors.As(err, &syntax) {
		return ""
	}
	line, column := syntax.Position()
	return fmt.Sprintf(": check line %d, column %d", line, column)
}

// checkSections checks the keys of a buildkitd.toml. It returns the ones without effect.
func checkSections(setting string, all map[string]any) (unused []string, err error) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch {
		case key == "registry":
			err = errors.Join(err, checkRegistryKeys(setting, all[key]))
		case key == "dns":
			err = errors.Join(err, checkKeys(setting, key, all[key], []string{"nameservers", "searchDomains"}))
		case slices.Contains(unusedSections(), key):
			unused = append(unused, key)
		case key == "insecure-entitlements":
			err = errors.Join(err, fmt.Errorf("%s has %s, and the step's own builder grants no rights, "+
				"because its RUN steps are isolated: remove it, or use a BuildKit that grants them (settings builder, allow)",
				setting, key))
		default:
			err = errors.Join(err, fmt.Errorf("%s has %s, which this step does not support: remove it", setting, key))
		}
	}
	return unused, err
}

func checkRegistryKeys(setting string, registries any) (err error) {
	hosts, ok := registries.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: registry is not a table: write [registry.\"registry.example.com\"]", setting)
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		err = errors.Join(err, checkKeys(setting, "registry."+host, hosts[host], registryKeys()))
	}
	return err
}

// checkKeys rejects keys of a section that are not known.
func checkKeys(setting, section string, value any, known []string) error {
	keys, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: %s is not a table: write [%s]", setting, section, section)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%s: %s has %s, which this step does not support: use %s",
				setting, section, key, strings.Join(known, ", "))
		}
	}
	return nil
}

// addNameServers adds the name servers, unless the settings name some.
func (b *localBuilderValues) addNameServers(name string, c buildkitConfig) error {
	for _, server := range c.DNS.Servers {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("%s: dns.nameservers has %q: set IP addresses", name, server)
		}
	}
	if b.dns == nil {
		b.dns = c.DNS.Servers
	}
	if b.dnsSearch == nil {
		b.dnsSearch = c.DNS.Search
	}
	return nil
}

// addRegistryConfig adds the configuration of a registry. name is the setting.
func (r *stepReader) addRegistryConfig(name, host string, c registryConfig) error {
	origin := name + ": registry." + host
	normal, err := registry.ParseHost(host)
	if err != nil || strings.Contains(normal, "/") {
		return fmt.Errorf("%s: %q is not the host of a registry", name, host)
	}
	if isOn(c.HTTP) || isOn(c.Insecure) {
		if normal == hubHost {
			return fmt.Errorf("%s has http or insecure, and Docker Hub uses HTTPS: remove it", origin)
		}
		r.insecureHosts = append(r.insecureHosts, normal)
	}
	one := Certificate{Host: normal, Authorities: c.Authorities, Origin: origin}
	for _, pair := range c.Pairs {
		if pair.Key == "" || pair.Certificate == "" {
			return fmt.Errorf("%s has a keypair without key or cert: set both", origin)
		}
		one.Pairs = append(one.Pairs, KeyPair{Certificate: pair.Certificate, Key: pair.Key})
	}
	if len(one.Authorities)+len(one.Pairs) > 0 {
		r.Certificates = append(r.Certificates, one)
	}
	r.local.mirrors = append(r.local.mirrors, mirrorsOf(normal, c.Mirrors)...)
	return checkMirrors(origin+": mirrors", c.Mirrors)
}

func isOn(value *bool) bool { return value != nil && *value }

// mirrorsOf returns the mirrors of a registry in the form that a builder takes: a mirror of another registry
// than Docker Hub has the registry before it, for example quay.io=https://mirror.example.com.
func mirrorsOf(host string, mirrors []string) []string {
	all := slices.Clone(mirrors)
	for i := range all {
		if host != hubHost {
			all[i] = host + "=" + all[i]
		}
	}
	return all
}
