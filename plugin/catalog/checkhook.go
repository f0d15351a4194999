package catalog

import (
	"context"
	"errors"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// CheckHook adds or repairs the webhook of a repository if it was removed or changed at the
// provider. It also writes a secret that the provider has not confirmed. If the provider rejects
// the webhook, the repository is polled and the hook has a Problem. If the provider is unavailable,
// or the repository is polled already, nothing changes. Errors are errors of the store.
func (c *Catalog) CheckHook(ctx context.Context, r autobuild.Repository) error {
	defer c.lock(r)()
	h, err := c.o.Store.HookOf(ctx, r)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil // deleted in the meantime
	}
	if err != nil || h.State != autobuild.HookActive {
		return err
	}
	builds, err := c.o.Store.AutomatedBuildsOf(ctx, r)
	if err != nil || len(builds) == 0 {
		return err // a webhook without automated builds is removed, not repaired
	}
	after, _, err := c.registerHook(ctx, h, h, candidates(h, accountsOf(builds)...))
	if err == nil && after.State == autobuild.HookActive && after.RemoteID != h.RemoteID {
		logctx.Log(ctx, c.o.Log).
			WithField("repository", r.FullName).
			Warn("the webhook was missing at Bitbucket and was added again")
	}
	return err
}

// accountsOf returns the account ids of automated builds, in order.
func accountsOf(builds []autobuild.AutomatedBuild) []string {
	accounts := make([]string, 0, len(builds))
	for _, a := range builds {
		accounts = append(accounts, a.AccountID)
	}
	return accounts
}
