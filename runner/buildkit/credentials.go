package buildkit

import (
	"context"
	"strings"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"

	"slipway/runner/registry"
	"slipway/runner/spec"
)

// credentials returns a registry's login to the server while a build runs.
// It uses only the request's logins and ignores the environment: no Docker
// configuration, no credential helper. A host that is not in it is read anonymously.
type credentials struct {
	auth.UnimplementedAuthServer
	logins map[string]registry.Login // logins by host
}

var _ session.Attachable = (*credentials)(nil)

// newCredentials keys the logins by host. If a host has several, the login that fits the image has
// precedence, and then the one without a path.
func newCredentials(image string, all []spec.RegistryCredential) *credentials {
	c := &credentials{logins: map[string]registry.Login{}}
	for _, r := range all {
		host, path := splitHost(r.Host)
		anonymous := r.Username == "" && r.Password.IsZero()
		if _, taken := c.logins[host]; taken && (path != "" || anonymous) {
			continue
		}
		c.logins[host] = registry.Login{Username: r.Username, Password: r.Password, Insecure: r.Insecure}
	}
	full, err := registry.ParseImage(image)
	if err != nil {
		return c
	}
	if login := registry.LoginFor(full, all); login.Username != "" || !login.Password.IsZero() {
		host, _ := splitHost(full)
		c.logins[host] = login
	}
	return c
}

// splitHost splits the name of a credential or an image into host and path. Docker Hub has several host
// names.
func splitHost(name string) (host, path string) {
	for _, scheme := range []string{"https://", "http://"} {
		name = strings.TrimPrefix(name, scheme)
	}
	host, path, _ = strings.Cut(strings.TrimSuffix(name, "/"), "/")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		host = "docker.io"
	}
	return host, path
}

// Register offers the credentials on a session.
func (c *credentials) Register(server *grpc.Server) { auth.RegisterAuthServer(server, c) }

// Credentials returns the login for one host.
func (c *credentials) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	host, _ := splitHost(r.Host)
	login := c.logins[host]
	return &auth.CredentialsResponse{Username: login.Username, Secret: login.Password.Reveal()}, nil
}
