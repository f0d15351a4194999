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

// readOwnBuilder comes after the builder, for one that is named has its own ways, and after the
// logins, which may name mirrors.
func (p *Plugin) readOwnBuilder(raw config.PluginBuilder, given map[string]string) error {
	mirrors, origin := first(given, "", mirrorName, "DOCKER_PLUGIN_MIRROR")
	p.Origins[mirrorName] = origin
	ofLogins := p.OwnBuilder.Mirrors
	if len(ofLogins) == 0 && mirrors+raw.CustomDNS+raw.CustomDNSSearch == "" {
		return nil
	}
	var errs [3]error
	var own []string
	own, errs[0] = list(origin, mirrors)
	p.OwnBuilder.DNS, errs[1] = list("PLUGIN_CUSTOM_DNS", raw.CustomDNS)
	p.OwnBuilder.DNSSearch, errs[2] = list("PLUGIN_CUSTOM_DNS_SEARCH", raw.CustomDNSSearch)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if err := checkMirrors(origin, own); err != nil {
		return err
	}
	p.OwnBuilder.Mirrors = slices.Concat(own, ofLogins)
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
	p.warn(
		"not used: %s; %s names a builder, whose own configuration counts",
		strings.Join(unused, ", "),
		p.Origins[builderName],
	)
	return nil
}

// takeMirrors takes those that an entry of logins has for Docker Hub, whoever logs in there.
// Another registry's do nothing.
func (p *Plugin) takeMirrors(origin, host string, mirrors []string) error {
	switch {
	case len(mirrors) == 0:
		return nil
	case host != hubHost:
		p.warn("%s: mirrors do nothing here: a builder has mirrors of Docker Hub alone", origin)
		return nil
	}
	p.OwnBuilder.Mirrors = append(p.OwnBuilder.Mirrors, mirrors...)
	return checkMirrors(origin+": mirrors", mirrors)
}

func checkMirrors(origin string, mirrors []string) error {
	for _, mirror := range mirrors {
		scheme, place, found := strings.Cut(mirror, "://")
		if !found {
			scheme, place = "https", mirror
		}
		if _, err := registry.ParseHost(
			strings.TrimSuffix(place, "/"),
		); err != nil ||
			(scheme != "https" && scheme != "http") {
			return fmt.Errorf("%s is %q: give the mirror's address, as https://mirror.example.com", origin, mirror)
		}
	}
	return nil
}

const (
	mirrorName     = "PLUGIN_MIRROR"
	builderKeyName = "PLUGIN_SSH_KEY"
)

// readRemoteBuilders refuses builders over ssh: docker-buildx trusts whatever host answers first,
// and one step has one builder here.
func (p *Plugin) readRemoteBuilders(raw config.PluginBuilder) error {
	p.sshKey = raw.SSHKey
	builders, err := list("PLUGIN_REMOTE_BUILDERS", raw.RemoteBuilders)
	if err != nil {
		return err
	}
	builders = slices.DeleteFunc(builders, func(one string) bool { return one == "local" })
	switch {
	case len(builders) > 0 && p.Builder == "":
		return fmt.Errorf(
			"PLUGIN_REMOTE_BUILDERS has %q, and builders are not reached over ssh here: run `slipway builder` there, "+
				"and name it in PLUGIN_BUILDER, as tcp://host:9443 (docs/builder.md)",
			builders[0],
		)
	case len(builders) > 0:
		p.warn("PLUGIN_REMOTE_BUILDERS is not used, %s is", p.Origins[builderName])
	case !raw.SSHKey.IsZero():
		p.warn("PLUGIN_SSH_KEY is not used: builders are not reached over ssh here")
	}
	return nil
}
