package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ab "slipway/plugin/autobuild"
	"slipway/runner/registry"
)

// RemoteRegistry asks the registry itself.
type RemoteRegistry struct{}

var _ RegistryChecker = RemoteRegistry{}

// Check begins a push of the image and gives it up, or logs in where there is no image.
func (RemoteRegistry) Check(ctx context.Context, image string, r ab.Registry) error {
	client := registry.New(registry.Options{})
	login := registry.Login{Username: r.Username, Password: r.Password, Insecure: r.Insecure}
	if image == "" {
		return client.CheckLogin(ctx, r.Host, login)
	}
	return client.Check(ctx, image, login)
}

// SaveRegistry stores a credential (an empty ID makes a new one; an empty password keeps the
// stored one) after it was checked live. What the check found is in Problem, and is no error:
// the registry may be down.
func (c *Catalog) SaveRegistry(ctx context.Context, r ab.Registry) (ab.Registry, error) {
	host, err := registry.ParseHost(r.Host)
	if err != nil {
		return ab.Registry{}, invalid("host", "%s", err)
	}
	r.Host, r.Username = host, strings.TrimSpace(r.Username)
	if r.ID != "" && r.Password.IsZero() {
		stored, err := c.o.Store.Registry(ctx, r.ID)
		if err != nil {
			return ab.Registry{}, err
		}
		if stored.Host != r.Host || stored.Username != r.Username {
			return ab.Registry{}, invalid("password", "give it again: the stored one is %s's at %s", stored.Username, stored.Host)
		}
		r.Password = stored.Password
	}
	switch {
	case r.Username == "":
		return ab.Registry{}, invalid("username", "empty")
	case r.Password.IsZero():
		return ab.Registry{}, invalid("password", "empty")
	}
	return c.checked(ctx, r)
}

// CheckRegistry checks a stored credential anew.
func (c *Catalog) CheckRegistry(ctx context.Context, id string) (ab.Registry, error) {
	r, err := c.o.Store.Registry(ctx, id)
	if err != nil {
		return ab.Registry{}, err
	}
	return c.checked(ctx, r)
}

func (c *Catalog) checked(ctx context.Context, r ab.Registry) (ab.Registry, error) {
	image, err := c.imageOf(ctx, r)
	if err != nil {
		return ab.Registry{}, err
	}
	limited, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	r.CheckedAt, r.Problem = c.o.Now(), ""
	if err := c.o.Registry.Check(limited, image, r); err != nil {
		r.Problem = err.Error()
	}
	saved, err := c.o.Store.SaveRegistry(ctx, r)
	if errors.Is(err, ab.ErrConflict) {
		return ab.Registry{}, invalid("host", "there is a credential for %s already", r.Host)
	}
	if err != nil {
		return ab.Registry{}, fmt.Errorf("save registry %s: %w", r.Host, err)
	}
	return saved, nil
}

// imageOf finds an image that the credential is there to push; empty when none uses it yet.
func (c *Catalog) imageOf(ctx context.Context, r ab.Registry) (string, error) {
	all, err := c.o.Store.AutomatedBuilds(ctx)
	if err != nil {
		return "", err
	}
	for _, a := range all {
		if strings.HasPrefix(a.Image, r.Host+"/") {
			return a.Image, nil
		}
	}
	return "", nil
}
