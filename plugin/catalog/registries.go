package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"slipway/config/netpolicy"
	"slipway/plugin/autobuild"
	"slipway/plugin/credentials"
	"slipway/runner/registry"
)

// RemoteRegistry checks credentials with requests to the registry.
type RemoteRegistry struct {
	// Policy decides on the addresses of registries, which people type, and of their token servers.
	Policy netpolicy.Policy
}

var _ RegistryChecker = RemoteRegistry{}

// Check starts a push of the image and cancels it. Without an image it only logs in.
func (c RemoteRegistry) Check(ctx context.Context, image string, r autobuild.Registry) error {
	client := registry.New(registry.Options{Guard: c.Policy.Transport})
	login := registry.Login{Username: r.Username, Password: r.Password, Insecure: r.Insecure}
	if image == "" {
		return client.CheckLogin(ctx, r.Host, login)
	}
	return client.Check(ctx, image, login)
}

// SaveRegistry checks a credential at its registry and stores it. An empty ID creates a credential,
// and an empty password keeps the stored one. A failed check is stored in Problem and is not an
// error, because the registry may be down. Invalid fields are *Invalid.
func (c *Catalog) SaveRegistry(ctx context.Context, r autobuild.Registry) (autobuild.Registry, error) {
	host, err := registry.ParseHost(r.Host)
	if err != nil {
		return autobuild.Registry{}, invalid("host", "%s", err)
	}
	r.Host, r.Username = host, strings.TrimSpace(r.Username)
	r.Password = r.Password.TrimLineBreaks()
	r, err = c.keepPassword(ctx, r)
	if err != nil {
		return autobuild.Registry{}, err
	}
	if r.Purpose == "" {
		r.Purpose = autobuild.RegistryPush
	}
	switch {
	case r.Username == "":
		return autobuild.Registry{}, invalid("username", "empty")
	case r.Password.IsZero():
		return autobuild.Registry{}, invalid("password", "empty")
	case r.Purpose != autobuild.RegistryPush && r.Purpose != autobuild.RegistryPull:
		return autobuild.Registry{}, invalid("purpose", "unknown: choose push or pull")
	}
	if err := c.checkBinding(ctx, r); err != nil {
		return autobuild.Registry{}, err
	}
	return c.checkAndSave(ctx, r)
}

// keepPassword adds the stored password to a credential that has none. The password is never sent
// to another host or with another user name than it was stored for.
func (c *Catalog) keepPassword(ctx context.Context, r autobuild.Registry) (autobuild.Registry, error) {
	if r.ID == "" || !r.Password.IsZero() {
		return r, nil
	}
	stored, err := c.o.Store.Registry(ctx, r.ID)
	if err != nil {
		return autobuild.Registry{}, err
	}
	if stored.Host != r.Host || stored.Username != r.Username {
		return autobuild.Registry{}, invalid(
			"password",
			"enter it again: the stored password belongs to %s at %s",
			stored.Username,
			stored.Host,
		)
	}
	r.Password = stored.Password
	return r, nil
}

// checkBinding rejects a credential that is bound to an automated build that cannot use it.
func (c *Catalog) checkBinding(ctx context.Context, r autobuild.Registry) error {
	if r.AutomatedBuildID == "" {
		return nil
	}
	a, err := c.o.Store.AutomatedBuild(ctx, r.AutomatedBuildID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return invalid("automated_build", "it no longer exists: choose another one")
	}
	if err != nil {
		return err
	}
	if r.Purpose == autobuild.RegistryPush && !credentials.Covers(r, a.Image) {
		return invalid("host", "the automated build of %s pushes %s, which does not start with %s",
			a.Repository.FullName, a.Image, r.Host)
	}
	return nil
}

// CheckRegistry checks a stored credential again.
func (c *Catalog) CheckRegistry(ctx context.Context, id string) (autobuild.Registry, error) {
	r, err := c.o.Store.Registry(ctx, id)
	if err != nil {
		return autobuild.Registry{}, err
	}
	return c.checkAndSave(ctx, r)
}

func (c *Catalog) checkAndSave(ctx context.Context, r autobuild.Registry) (autobuild.Registry, error) {
	image, err := c.imageOf(ctx, r)
	if err != nil {
		return autobuild.Registry{}, err
	}
	limited, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	r.CheckedAt, r.Problem = c.o.Now(), ""
	if err := c.o.Registry.Check(limited, image, r); err != nil {
		r.Problem = err.Error()
	}
	saved, err := c.o.Store.SaveRegistry(ctx, r)
	if errors.Is(err, autobuild.ErrConflict) {
		return autobuild.Registry{}, invalid("host", "a %s credential for %s with the same binding exists already",
			r.Purpose, r.Host)
	}
	if err != nil {
		return autobuild.Registry{}, fmt.Errorf("save registry %s: %w", r.Host, err)
	}
	return saved, nil
}

// imageOf returns an image that builds push with the credential. It is empty if no automated build
// uses the credential yet. It is empty for a pull credential too, because only its login can be
// checked.
func (c *Catalog) imageOf(ctx context.Context, r autobuild.Registry) (string, error) {
	if r.Purpose == autobuild.RegistryPull {
		return "", nil
	}
	all, err := c.o.Store.BareAutomatedBuilds(ctx, autobuild.BareFilter{})
	if err != nil {
		return "", err
	}
	for _, a := range all {
		if credentials.Covers(r, a.Image) && (r.AutomatedBuildID == "" || r.AutomatedBuildID == a.ID) {
			return a.Image, nil
		}
	}
	return "", nil
}
