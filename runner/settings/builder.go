package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/registry"
	"slipway/runner/settings/table"
)

// The settings of the builder.
const (
	builderName    = "PLUGIN_BUILDER"
	builderTLSName = "PLUGIN_BUILDER_TLS"
	builderTLSEnv  = "SLIPWAY_BUILDER_TLS"
	mirrorName     = "PLUGIN_MIRROR"
)

// State is the place of the cache of a builder that a step starts.
type State struct {
	Off bool   // keep no cache, even if there is a volume for it
	Dir string // absolute path; empty = the volume for it, if there is one
}

// A LocalBuilder is the configuration of the builder that a step starts.
type LocalBuilder struct {
	// Mirrors of Docker Hub: https://host, http://host or host, and a path. A mirror of another registry has
	// its host before it: quay.io=https://host.
	Mirrors        []string
	DNS, DNSSearch []string // name servers and search domains of RUN steps
}

// builderValues are the settings of a builder that already runs.
type builderValues struct {
	address string
	tls     secret.Secret // PEM, or the path of a PEM file
}

// builderTable declares the settings of a builder that already runs. addresses are examples of its
// address, for the help.
func builderTable(addresses string) table.Table[builderValues] {
	return table.Table[builderValues]{
		{
			Name: builderName, Env: []string{"SLIPWAY_BUILDER"},
			Help:  "address of a running builder, for example " + addresses,
			Unset: "one is started for this step",
			Set:   table.Text(func(b *builderValues) *string { return &b.address }),
		},
		{
			Name: builderTLSName, Env: []string{builderTLSEnv}, Secret: true,
			Help: "certificate of this client for a builder on another machine: PEM, " +
				"or the absolute path of a file of slipway builder keys",
			Set: table.Secret(func(b *builderValues) *secret.Secret { return &b.tls }),
		},
	}
}

// identity validates the builder's address and returns the certificate for it.
func (b builderValues) identity(origins map[string]string) (identity.Identity, error) {
	client, err := readIdentity(origins[builderTLSName], b.tls)
	if err != nil || b.address == "" {
		return client, err
	}
	err = identity.CheckAddress(b.address, client)
	switch {
	case errors.Is(err, identity.ErrNeeded):
		err = fmt.Errorf("PLUGIN_BUILDER_TLS is not set (setting builder_tls): %w", err)
	case err != nil:
		err = fmt.Errorf("%s: %w", origins[builderName], err)
	}
	return client, err
}

// readIdentity reads a client certificate. name is the variable that it came from, for the error.
func readIdentity(name string, value secret.Secret) (identity.Identity, error) {
	client, err := identity.Read(value)
	if err != nil {
		return identity.Identity{}, fmt.Errorf("%s: %w", name, err)
	}
	return client, nil
}

// localBuilderValues are the settings of the builder that a step starts, and of builders over ssh.
type localBuilderValues struct {
	mirrors, dns, dnsSearch []string
	remote                  []string
	sshKey                  secret.Secret // it is masked in the log, and used for nothing
}

func localBuilderTable() table.Table[localBuilderValues] {
	return table.Table[localBuilderValues]{
		{
			Name:    mirrorName,
			Aliases: []string{"PLUGIN_MIRRORS", "PLUGIN_REGISTRY_MIRRORS"},
			Env:     []string{"DOCKER_PLUGIN_MIRROR"},
			Help: "mirrors of Docker Hub for base images: a list, for example https://mirror.example.com, " +
				"or quay.io=https://mirror.example.com of another registry; of the builder that the step starts",
			Set: (*localBuilderValues).setMirrors,
		},
		{
			Name: "PLUGIN_CUSTOM_DNS",
			Help: "name servers for RUN, a list; only for the builder that the step starts",
			Set:  (*localBuilderValues).setDNS,
		},
		{
			Name: "PLUGIN_CUSTOM_DNS_SEARCH",
			Help: "search domains for RUN, a list; only for the builder that the step starts",
			Set:  table.List(func(b *localBuilderValues) *[]string { return &b.dnsSearch }),
		},
		{
			Name: "PLUGIN_REMOTE_BUILDERS",
			Help: "local is the step's own builder; other values are errors: use builder",
			Set:  table.List(func(b *localBuilderValues) *[]string { return &b.remote }),
		},
		{
			Name: "PLUGIN_SSH_KEY", Secret: true,
			Help: "no effect: builders over ssh are not supported",
			Set:  table.Secret(func(b *localBuilderValues) *secret.Secret { return &b.sshKey }),
		},
	}
}

func (b *localBuilderValues) setMirrors(name, text string) (err error) {
	if b.mirrors, err = table.ParseList(name, text); err != nil {
		return err
	}
	return checkMirrors(name, b.mirrors)
}

func (b *localBuilderValues) setDNS(name, text string) (err error) {
	if b.dns, err = table.ParseList(name, text); err != nil {
		return err
	}
	for _, server := range b.dns {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("%s has %q: set IP addresses", name, server)
		}
	}
	return nil
}

// checkMirrors checks the addresses of mirrors. origin is the setting that has them, for the error.
func checkMirrors(origin string, mirrors []string) error {
	for _, mirror := range mirrors {
		if strings.Contains(mirror, "@") { // it may be a password, so the error does not show it
			return fmt.Errorf("%s has a user name or a password: set only the mirror's address, and its login "+
				"in PLUGIN_LOGINS", origin)
		}
		of, place, found := strings.Cut(mirror, "=")
		if !found {
			of, place = hubHost, mirror
		}
		scheme, address, found := strings.Cut(place, "://")
		if !found {
			scheme, address = "https", place
		}
		_, ofErr := registry.ParseHost(of)
		_, err := registry.ParseHost(strings.TrimSuffix(address, "/"))
		if ofErr != nil || err != nil || (scheme != "https" && scheme != "http") {
			return fmt.Errorf(
				"%s is %q: set the mirror's address, for example https://mirror.example.com",
				origin,
				mirror,
			)
		}
	}
	return nil
}

// applyLocalBuilder sets the configuration of the builder that the step starts. It runs after the
// logins, which may name mirrors. A builder that already runs has its own configuration.
func (r *stepReader) applyLocalBuilder() {
	mirrorsOfLogins := r.LocalBuilder.Mirrors
	r.LocalBuilder = LocalBuilder{
		Mirrors:   slices.Concat(r.local.mirrors, mirrorsOfLogins),
		DNS:       r.local.dns,
		DNSSearch: r.local.dnsSearch,
	}
	r.sshKey = r.local.sshKey
	if r.Builder == "" {
		return
	}
	var unused []string
	for _, name := range []string{mirrorName, "PLUGIN_CUSTOM_DNS", "PLUGIN_CUSTOM_DNS_SEARCH"} {
		if r.Origins[name] != Default {
			unused = append(unused, r.Origins[name])
		}
		if name == mirrorName && len(mirrorsOfLogins) > 0 {
			unused = append(unused, "mirrors of PLUGIN_LOGINS")
		}
	}
	if r.Origins[configTOML] != Default && len(r.local.mirrors)+len(r.local.dns)+len(r.local.dnsSearch) > 0 {
		unused = append(unused, "mirrors and dns of "+configTOML)
	}
	if unused != nil {
		r.warn("not used: %s; %s names a builder, which has its own configuration",
			strings.Join(unused, ", "), r.Origins[builderName])
	}
}

// checkRemoteBuilders rejects builders over ssh. docker-buildx trusts any host key there, and a step
// has one builder here.
func (r *stepReader) checkRemoteBuilders() error {
	remote := slices.DeleteFunc(r.local.remote, func(one string) bool { return one == "local" })
	switch {
	case len(remote) > 0 && r.Builder == "":
		return fmt.Errorf(
			"PLUGIN_REMOTE_BUILDERS has %q, and builders over ssh are not supported: "+
				"run `slipway builder` there, and set PLUGIN_BUILDER to its address, for example tcp://host:9443 (docs/builder.md)",
			remote[0],
		)
	case len(remote) > 0:
		r.warn("PLUGIN_REMOTE_BUILDERS is not used, because %s is set", r.Origins[builderName])
	case !r.sshKey.IsZero():
		r.warn("PLUGIN_SSH_KEY is not used: builders over ssh are not supported")
	}
	return nil
}

func stateTable() table.Table[State] {
	return table.Table[State]{{
		Name: "PLUGIN_STATE", Env: []string{"SLIPWAY_BUILDER_STATE"},
		Help: "directory on a volume that keeps the cache of the step's own builder for later steps, " +
			"an absolute path, or off",
		Unset: "/var/lib/slipway/builder if that is a volume",
		Set:   (*State).set,
	}}
}

// set rejects a relative path. In the workspace the cache would be part of the build's context, and it
// would be removed with the pipeline.
func (s *State) set(name, text string) error {
	switch {
	case strings.EqualFold(text, "off"):
		s.Off = true
	case filepath.IsAbs(text) && filepath.Clean(text) != "/":
		s.Dir = filepath.Clean(text)
	default:
		return fmt.Errorf("%s is %q: set the absolute path of a directory on a volume, "+
			"for example /var/lib/slipway/builder, or off", name, text)
	}
	return nil
}
