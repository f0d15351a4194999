package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// finishing bounds what is brought to its end although whoever asked for it has left.
const finishing = time.Minute

// detached is a context for changes of which half would be worse than none: it does not end
// with the request.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), finishing)
}

// Tidy brings to its end what a process that died left half done: automated builds whose
// repository has no webhook yet, webhooks whose last automated build is gone, and webhooks whose
// new secret Bitbucket has not confirmed. Call it when the gateway starts.
func (c *Catalog) Tidy(ctx context.Context) error {
	builds, err := c.o.Store.AutomatedBuilds(ctx)
	if err != nil {
		return err
	}
	hooks, err := c.o.Store.Hooks(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, a := range builds {
		faults = append(faults, c.tidyBuild(ctx, a))
	}
	for _, h := range hooks {
		faults = append(faults, c.tidyHook(ctx, h.Repository))
		if h.SecretPending() {
			faults = append(faults, c.CheckHook(ctx, h.Repository))
		}
	}
	return errors.Join(faults...)
}

func (c *Catalog) tidyBuild(ctx context.Context, a autobuild.AutomatedBuild) error {
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
