package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"slipway/config"
	"slipway/runner/registry"
)

// An OwnBuilder is what the builder that a step starts is told besides.
type OwnBuilder struct {
	Mirrors        []string // of Docker Hub: https://host, http://host or host, and a path
	DNS, DNSSearch []string // of RUN steps
}

// readOwnBuilder comes after the builder: one that is named has its own ways.
func (p *Plugin) readOwnBuilder(raw config.PluginRest, given map[string]string) error {
	mirrors, origin := first(given, "", mirrorName, "DOCKER_PLUGIN_MIRROR")
	p.Origins[mirrorName] = origin
	ofLogins := p.hubMirrors()
	if len(ofLogins) == 0 && mirrors+raw.CustomDNS+raw.CustomDNSSearch == "" {
		return nil
	}
	var errs [3]error
	p.OwnBuilder.Mirrors, errs[0] = list(origin, mirrors)
	p.OwnBuilder.Mirrors = append(p.OwnBuilder.Mirrors, ofLogins...)
	p.OwnBuilder.DNS, errs[1] = list("PLUGIN_CUSTOM_DNS", raw.CustomDNS)
	p.OwnBuilder.DNSSearch, errs[2] = list("PLUGIN_CUSTOM_DNS_SEARCH", raw.CustomDNSSearch)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	for _, mirror := range p.OwnBuilder.Mirrors {
		scheme, place, found := strings.Cut(mirror, "://")
		if !found {
			scheme, place = "https", mirror
		}
		if _, err := registry.ParseHost(strings.TrimSuffix(place, "/")); err != nil || (scheme != "https" && scheme != "http") {
			return fmt.Errorf("%s is %q: give the mirror's address, as https://mirror.example.com", origin, mirror)
		}
	}
	for _, server := range p.OwnBuilder.DNS {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("PLUGIN_CUSTOM_DNS has %q: give IP addresses", server)
		}
	}
	if p.Builder == "" {
		return nil
	}
	var unused []string
	for _, one := range []struct{ name, value string }{
		{origin, mirrors},
		{"mirrors of PLUGIN_LOGINS", strings.Join(ofLogins, "")},
		{"PLUGIN_CUSTOM_DNS", raw.CustomDNS},
		{"PLUGIN_CUSTOM_DNS_SEARCH", raw.CustomDNSSearch},
	} {
		if one.value != "" {
			unused = append(unused, one.name)
		}
	}
	p.warn("not used: %s; %s names a builder, whose own configuration counts", strings.Join(unused, ", "), p.Origins[builderName])
	return nil
}

// hubMirrors are those that logins has for Docker Hub. Another registry's do nothing.
func (p *Plugin) hubMirrors() (all []string) {
	for _, l := range p.Logins {
		switch {
		case l.Host == hubHost:
			all = append(all, l.Mirrors...)
		case len(l.Mirrors) > 0:
			p.warn("%s: mirrors do nothing here: a builder has mirrors of Docker Hub alone", l.Origin)
		}
	}
	return all
}

const (
	mirrorName     = "PLUGIN_MIRROR"
	builderKeyName = "PLUGIN_SSH_KEY"
)

// readRemoteBuilders refuses builders over ssh: docker-buildx trusts whatever host answers first,
// and one step has one builder here.
func (p *Plugin) readRemoteBuilders(raw config.PluginRest) error {
	p.Rest.BuilderKey = raw.SSHKey
	builders, err := list("PLUGIN_REMOTE_BUILDERS", raw.RemoteBuilders)
	if err != nil {
		return err
	}
	builders = slices.DeleteFunc(builders, func(one string) bool { return one == "local" })
	switch {
	case len(builders) > 0 && p.Builder == "":
		return fmt.Errorf("PLUGIN_REMOTE_BUILDERS has %q, and builders are not reached over ssh here: run `slipway builder` there, "+
			"and name it in PLUGIN_BUILDER, as tcp://host:9443 (docs/builder.md)", builders[0])
	case len(builders) > 0:
		p.warn("PLUGIN_REMOTE_BUILDERS is not used, %s is", p.Origins[builderName])
	case !raw.SSHKey.IsZero():
		p.warn("PLUGIN_SSH_KEY is not used: builders are not reached over ssh here")
	}
	return nil
}
