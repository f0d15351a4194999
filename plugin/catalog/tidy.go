package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// detachedTimeout limits changes that continue after their request has ended.
const detachedTimeout = time.Minute

// detach returns a context that does not end with the request, for changes that must not stop
// halfway.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), detachedTimeout)
}

// Tidy completes changes that a process left unfinished when it died. It adds missing webhooks,
// removes webhooks without automated builds, and writes secrets that Bitbucket has not confirmed.
// Call it when the gateway starts.
func (c *Catalog) Tidy(ctx context.Context) error {
	builds, err := c.o.Store.BareAutomatedBuilds(ctx, autobuild.BareFilter{})
	if err != nil {
		return err
	}
	hooks, err := c.o.Store.HooksWithoutSecrets(ctx)
	if err != nil {
		return err
	}
	type repository struct{ provider, id string }
	hasHook, built := map[repository]bool{}, map[repository]bool{}
	for _, h := range hooks {
		hasHook[repository{h.Repository.ProviderID, h.Repository.ID}] = h.Problem != beingAdded
	}
	var errs []error
	for _, a := range builds {
		of := repository{a.Repository.ProviderID, a.Repository.ID}
		built[of] = true
		if !hasHook[of] {
			errs = append(errs, c.tidyBuild(ctx, a))
		}
	}
	for _, h := range hooks {
		if !built[repository{h.Repository.ProviderID, h.Repository.ID}] {
			errs = append(errs, c.tidyHook(ctx, h.Repository))
		}
		if h.SecretPending() {
			errs = append(errs, c.CheckHook(ctx, h.Repository))
		}
	}
	return errors.Join(errs...)
}

func (c *Catalog) tidyBuild(ctx context.Context, a autobuild.BareAutomatedBuild) error {
	h, err := c.o.Store.HookOf(ctx, a.Repository)
	if errors.Is(err, autobuild.ErrNotFound) || err == nil && h.Problem == beingAdded {
		_, err = c.EnsureHook(ctx, a.Repository, a.AccountID)
	}
	if err != nil {
		return fmt.Errorf("webhook of %s: %w", a.Repository.FullName, err)
	}
	return nil
}

func (c *Catalog) tidyHook(ctx context.Context, r autobuild.Repository) error {
	defer c.lock(r)()
	rest, err := c.o.Store.AutomatedBuildsOf(ctx, r)
	if err != nil || len(rest) > 0 {
		return err
	}
	return c.removeHook(ctx, r)
}
