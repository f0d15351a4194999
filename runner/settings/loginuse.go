package settings

import (
	"fmt"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/runner/registry"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// For returns the logins of a step that builds an image, and notes about the unused ones.
// The login for base images is pull-only. The error is about PLUGIN_INSECURE, whatever the image.
func (l StepLogins) For(image string) (all []spec.RegistryCredential, notes []string, err error) {
	p := Plugin{Images: []string{image}, Warnings: slices.Clone(l.Notes)}
	l.Base.PullOnly = true
	err = p.useLogins(l)
	if !l.Main.Anonymous() && p.LoginFor(image).Anonymous() {
		p.warn(
			"the login of %s is for %s, and the image is %s: the push does not use the login",
			l.Main.Origin,
			l.Named,
			image,
		)
	}
	return p.Registries(), p.Warnings, err
}

// LoginFor returns the login for an image: the one with the longest matching beginning of its name, or
// an anonymous one.
func (p Plugin) LoginFor(image string) Login {
	if i := registry.Match(image, p.Registries()); i >= 0 {
		return p.Logins[i]
	}
	return Login{RegistryCredential: spec.RegistryCredential{Host: grammar.ImageHost(image)}}
}

// Registries returns the logins in the form that a builder takes.
func (p Plugin) Registries() []spec.RegistryCredential {
	all := make([]spec.RegistryCredential, len(p.Logins))
	for i, l := range p.Logins {
		all[i] = l.RegistryCredential
	}
	return all
}

// useLogins adds the logins, now that the images are known.
func (p *Plugin) useLogins(l StepLogins) error {
	l.Main.Host = l.Named
	if l.Named == "" {
		l.Main.Host = p.impliedRegistry(l.Main, l.others())
	}
	plain := l.Named // the registry that PLUGIN_INSECURE=true is about
	for _, one := range slices.Concat([]Login{l.Main}, l.Several) {
		if plain == "" && !one.Anonymous() {
			plain = one.Host
		}
	}
	for _, one := range slices.Concat([]Login{l.Main}, l.Several, []Login{l.Base}, l.Configured) {
		p.addLogin(one)
	}
	return p.applyInsecure(l.Insecure, plain)
}

// others returns the logins of all settings that name their registry.
func (l StepLogins) others() []Login {
	all := slices.Concat(l.Several, l.Configured)
	if !l.Base.Anonymous() {
		all = append(all, l.Base)
	}
	return all
}

// addLogin adds a login, unless its registry has one.
func (p *Plugin) addLogin(l Login) {
	if l.Anonymous() {
		return
	}
	for _, other := range p.Logins {
		if other.Host == l.Host {
			p.warn("the login of %s is not used: the login of %s is for %s, too", l.Origin, other.Origin, l.Host)
			return
		}
	}
	if l.Trimmed {
		p.warnTrimmed(l.Origin)
	}
	p.Logins = append(p.Logins, l)
}

// warnTrimmed notes a value without its last line break.
func (p *Plugin) warnTrimmed(origin string) {
	p.warn("the line break at the end of %s is left out: store the secret without it", origin)
}

// impliedRegistry returns the registry of user name and password if no setting names it. Docker Hub is first,
// because it is the default of Docker's plugins. Another setting with the same user name and password names
// their registry. Else it is the registry of an image for which no other setting has a login.
func (p *Plugin) impliedRegistry(main Login, others []Login) string {
	images := imagesOf(main.Username, p.Images)
	if slices.ContainsFunc(images, func(image string) bool { return grammar.ImageHost(image) == hubHost }) {
		return hubHost
	}
	for _, other := range others {
		if !main.Anonymous() && main.Username == other.Username && main.Password.Equal(other.Password) {
			return other.Host
		}
	}
	credentials := Plugin{Logins: others}.Registries()
	for _, image := range images {
		if registry.Match(image, credentials) < 0 {
			return grammar.ImageHost(image)
		}
	}
	return hubHost
}

// imagesOf returns the images in the registries of a cloud for a user name that only this cloud has. It
// returns all images for other user names, and if there is no such image.
func imagesOf(user string, images []string) []string {
	var inCloud func(image string) bool
	switch user {
	case googleUser, jsonKeyUser, "_json_key_base64":
		inCloud = isGoogle
	case "AWS":
		inCloud = func(image string) bool { return ecrHost.MatchString(grammar.ImageHost(image)) }
	default:
		return images
	}
	found := slices.DeleteFunc(slices.Clone(images), func(image string) bool { return !inCloud(image) })
	if len(found) == 0 {
		return images
	}
	return found
}

// checkRegistry rejects a registry without an image if an image has no login. Otherwise the image would be
// pushed elsewhere, and anonymously. A dry run pushes nothing, so it may name any registry.
func (p *Plugin) checkRegistry(named string) error {
	if named == "" || p.DryRun {
		return nil
	}
	for _, image := range p.Images {
		if image == named || strings.HasPrefix(image, named+"/") {
			return nil
		}
	}
	for _, image := range p.Images {
		if p.LoginFor(image).Anonymous() {
			return fmt.Errorf("%s is %s, and PLUGIN_REPO is %s, which is not there: "+
				"begin PLUGIN_REPO with the registry, or add a login for %s to PLUGIN_LOGINS",
				p.Origins[registryName], named, image, grammar.ImageHost(image))
		}
	}
	return nil
}

// applyInsecure marks the registries that use plain HTTP. As in Docker's plugins, true means one
// registry: main, or else the registry of the first image. So no password of another registry is sent in
// clear text.
func (p *Plugin) applyInsecure(text, main string) error {
	if main == "" {
		main = p.Image()
	}
	on, err := table.ParseBool(insecureName, text)
	switch {
	case err == nil && on:
		p.markInsecure(grammar.ImageHost(main))
		return nil
	case err == nil:
		return nil
	}
	entries, listErr := table.ParseList(insecureName, text)
	if listErr != nil {
		return listErr
	}
	var hosts []string
	for _, entry := range entries {
		host, hostErr := registry.ParseHost(entry)
		if hostErr != nil || !strings.ContainsAny(host, ".:") && host != "localhost" {
			return fmt.Errorf("%w, or the registries that use plain HTTP, for example registry.example.com:5000", err)
		}
		hosts = append(hosts, host)
	}
	for _, host := range hosts {
		p.markInsecure(grammar.ImageHost(host))
	}
	return nil
}

// markInsecure marks the logins at a host, or adds an anonymous one.
func (p *Plugin) markInsecure(host string) {
	owner := ""
	switch {
	case host == "":
		return
	case ecrHost.MatchString(host):
		owner = "Amazon's registry"
	case host == hubHost:
		owner = "Docker Hub"
	}
	if owner != "" {
		p.warn("PLUGIN_INSECURE has no effect for %s, which uses HTTPS; "+
			"if another registry uses plain HTTP, set PLUGIN_INSECURE to its name", owner)
		return
	}
	found := false
	for i, l := range p.Logins {
		if grammar.ImageHost(l.Host) == host {
			p.Logins[i].Insecure = true
			found = found || l.Host == host
		}
	}
	if !found {
		p.Logins = append(p.Logins, Login{RegistryCredential: spec.RegistryCredential{Host: host, Insecure: true}})
	}
}
