package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/runner/registry"
	"slipway/runner/spec"
)

// maxImages bounds how many names an image may have.
const maxImages = 20

// Image is the first of Images: by it the step and its status are named.
func (p Plugin) Image() string {
	if len(p.Images) == 0 {
		return ""
	}
	return p.Images[0]
}

// readRepo reads the image's names.
func (p *Plugin) readRepo(value string) error {
	entries, err := list("PLUGIN_REPO", value)
	switch {
	case err != nil:
		return err
	case len(entries) == 0:
		return errors.New(
			"PLUGIN_REPO is not set: give the image's name (setting repo), as registry.example.com/acme/app",
		)
	case len(entries) > maxImages:
		return fmt.Errorf("PLUGIN_REPO has %d names: an image can have up to %d here", len(entries), maxImages)
	}
	for _, entry := range entries {
		base := entry[strings.LastIndex(entry, "/")+1:]
		if strings.Contains(base, ":") && !strings.Contains(base, "@") {
			return fmt.Errorf("PLUGIN_REPO is %q: give the name alone, and tags in PLUGIN_TAGS", entry)
		}
		image, err := registry.ParseImage(entry)
		if err != nil {
			return fmt.Errorf("PLUGIN_REPO: %w", err)
		}
		if !slices.Contains(p.Images, image) {
			p.Images = append(p.Images, image)
		}
	}
	return nil
}

// readInsecure marks the registries that speak plain HTTP. What is true means one of them, as
// with Docker's plugins, so that no other one's password goes out in clear: main, or that of
// the first image.
func (p *Plugin) readInsecure(value, main string) error {
	var hosts []string
	on, err := trueFalse("PLUGIN_INSECURE", value)
	switch {
	case err == nil && !on:
		return nil
	case err == nil && main != "":
		hosts = []string{main}
	case err == nil:
		hosts = []string{p.Image()}
	default:
		entries, listErr := list("PLUGIN_INSECURE", value)
		if listErr != nil {
			return listErr
		}
		for _, entry := range entries {
			host, hostErr := registry.ParseHost(entry)
			if hostErr != nil || !strings.ContainsAny(host, ".:") && host != "localhost" {
				return fmt.Errorf("%w, or the registries that speak plain HTTP, as registry.example.com:5000", err)
			}
			hosts = append(hosts, host)
		}
	}
	for _, host := range hosts {
		p.markInsecure(hostOf(host))
	}
	return nil
}

func (p *Plugin) markInsecure(host string) {
	switch {
	case host == "":
		return
	case ecrHost.MatchString(host):
		p.warn(
			"PLUGIN_INSECURE does nothing for Amazon's registry, which speaks HTTPS; where another registry speaks plain HTTP, name it there",
		)
		return
	case host == hubHost:
		p.warn(
			"PLUGIN_INSECURE does nothing for Docker Hub, which speaks HTTPS; where another registry speaks plain HTTP, name it there",
		)
		return
	}
	found := false
	for i, l := range p.Logins {
		if hostOf(l.Host) == host {
			p.Logins[i].Insecure = true
			found = found || l.Host == host
		}
	}
	if !found {
		p.Logins = append(p.Logins, Login{RegistryCredential: spec.RegistryCredential{Host: host, Insecure: true}})
	}
}

// LoginFor is the login for an image by its name: that of the longest beginning, and an
// anonymous one where there is none.
func (p Plugin) LoginFor(image string) Login {
	if i := registry.Match(image, p.Registries()); i >= 0 {
		return p.Logins[i]
	}
	return Login{RegistryCredential: spec.RegistryCredential{Host: hostOf(image)}}
}

// Registries are all logins in the form in which a builder takes them.
func (p Plugin) Registries() []spec.RegistryCredential {
	all := make([]spec.RegistryCredential, len(p.Logins))
	for i, l := range p.Logins {
		all[i] = l.RegistryCredential
	}
	return all
}

// hostOf is the registry of an image's name, or of the beginning of one.
func hostOf(name string) string {
	host, _, _ := strings.Cut(name, "/")
	return host
}
