package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"slipway/config/grammar"
	"slipway/runner/spec"
)

// maxIgnored bounds the bytes that are read of a response whose body is not used.
const maxIgnored = 64 << 10

// ParseHost checks the registry of a credential: a host, with or without the beginning of an image's
// path. It returns it in the spelling of ParseImage.
func ParseHost(host string) (string, error) {
	if strings.Contains(host, "@") {
		return "", errors.New(
			"the registry has a user name or password in it: set only the host, for example registry.example.com:5000",
		)
	}
	normal := normalHost(strings.TrimSpace(host))
	first := grammar.ImageHost(normal)
	if _, err := name.NewRegistry(first, name.StrictValidation); err != nil || !spec.LegalImage(normal+"/x") {
		return "", fmt.Errorf(
			"%q is not a registry: set a host, for example registry.example.com:5000, or a host with a path, for example ghcr.io/acme",
			host,
		)
	}
	return normal, nil
}

// CheckLogin checks that a registry accepts the login, whatever the login may push. It returns
// *UnauthorizedError if the registry does not. It does not retry, because a person waits.
// Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#determining-support
func (c *Client) CheckLogin(ctx context.Context, host string, l Login) error {
	first, _, _ := strings.Cut(normalHost(host), "/")
	if first == dockerHub {
		first = name.DefaultRegistry
	}
	reg, err := name.NewRegistry(first, nameOptions(l)...)
	if err != nil {
		return fmt.Errorf("registry %q: %w", host, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	rt, err := transport.NewWithContext(ctx, reg, l.authenticator(), c.guardedTransport(ctx, l), nil)
	if err == nil {
		err = authenticate(ctx, rt, reg)
	}
	if err != nil {
		return explain("log in to", reg.Repo("v2"), err)
	}
	return nil
}

// authenticate requests the root of the API, which needs nothing but a valid login.
func authenticate(ctx context.Context, rt http.RoundTripper, reg name.Registry) error {
	u := url.URL{Scheme: reg.Scheme(), Host: reg.RegistryStr(), Path: "/v2/"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxIgnored))
		_ = resp.Body.Close()
	}()
	return transport.CheckError(resp, http.StatusOK)
}
