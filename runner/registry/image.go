package registry

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"slipway/runner/spec"
)

// dockerHub is the registry index.docker.io as image names spell it.
const dockerHub = "docker.io"

// ParseImage checks the name of an image without tag or digest and returns its full form:
// acme/app and index.docker.io/acme/app are docker.io/acme/app.
func ParseImage(image string) (string, error) {
	if strings.Contains(image, "@") {
		return "", fmt.Errorf("image %q has a digest: set the name without it", image)
	}
	if strings.Contains(image[strings.LastIndex(image, "/")+1:], ":") {
		return "", fmt.Errorf("image %q has a tag: set the name without it, because the rules make the tags", image)
	}
	repo, err := name.NewRepository(image)
	if err != nil {
		return "", fmt.Errorf("image %q is not a valid name: %w", image, err)
	}
	full := displayHost(repo.RegistryStr()) + "/" + repo.RepositoryStr()
	if !spec.LegalImage(full) {
		return "", fmt.Errorf(
			"image %q is not a valid name: use lower-case letters, digits and single . _ - between them",
			image,
		)
	}
	return full, nil
}

// Endpoints returns the addresses of an image's registry, for example registry.example.com:443. Without a
// port in the image's name, they are those of HTTPS and HTTP.
func Endpoints(image string) ([]string, error) {
	repo, err := repository(image, Login{})
	if err != nil {
		return nil, err
	}
	host := repo.RegistryStr()
	if u := (&url.URL{Host: host}); u.Port() != "" {
		return []string{host}, nil
	}
	host = strings.Trim(host, "[]")
	return []string{net.JoinHostPort(host, "443"), net.JoinHostPort(host, "80")}, nil
}

// LoginFor returns the login whose host or path prefix matches the image's name in whole segments. Of
// several it returns the longest. Without a match it returns an anonymous login.
func LoginFor(image string, credentials []spec.RegistryCredential) Login {
	i := Match(image, credentials)
	if i < 0 {
		return Login{}
	}
	c := credentials[i]
	return Login{Username: c.Username, Password: c.Password, Insecure: c.Insecure}
}

// Match returns the index of the credential that LoginFor uses, or -1.
func Match(image string, credentials []spec.RegistryCredential) int {
	found, best := -1, -1
	full, err := ParseImage(image)
	if err != nil {
		return found
	}
	for i, c := range credentials {
		prefix := normalHost(c.Host)
		if (full == prefix || strings.HasPrefix(full, prefix+"/")) && len(prefix) > best {
			found, best = i, len(prefix)
		}
	}
	return found
}

// normalHost returns a credential's host, with or without a path, in the spelling of ParseImage.
func normalHost(host string) string {
	host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://"), "/")
	first, rest, found := strings.Cut(host, "/")
	if first = displayHost(first); rest == "v1" || rest == "v2" {
		return first // Docker's own spelling, https://index.docker.io/v1/
	}
	if found {
		return first + "/" + rest
	}
	return first
}

func displayHost(host string) string {
	switch host {
	case name.DefaultRegistry, "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub
	}
	return host
}

func nameOptions(l Login) []name.Option {
	if l.Insecure {
		return []name.Option{name.Insecure}
	}
	return nil
}

func repository(image string, l Login) (name.Repository, error) {
	repo, err := name.NewRepository(image, nameOptions(l)...)
	if err != nil {
		return repo, fmt.Errorf("image %q: %w", image, err)
	}
	return repo, nil
}
