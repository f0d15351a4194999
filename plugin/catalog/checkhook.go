package catalog

import (
	"context"
	"errors"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// CheckHook makes the webhook of a repository stand again that was removed or changed at the
// provider. Where that is refused the hook is polled from then on, with Problem; where the
// provider cannot be asked it is left as it is, and so is one that is polled already. A secret
// that the provider has not confirmed is written again. An error is ours.
func (c *Catalog) CheckHook(ctx context.Context, r autobuild.Repository) error {
	defer c.lock(r)()
	h, err := c.o.Store.HookOf(ctx, r)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil // it was deleted meanwhile
	}
	if err != nil || h.State != autobuild.HookActive {
		return err
	}
	builds, err := c.o.Store.AutomatedBuildsOf(ctx, r)
	if err != nil || len(builds) == 0 {
		return err // without any it is removed, not mended
	}
	after, _, err := c.stand(ctx, h, h, candidates(h, accountsOf(builds)...))
	if err == nil && after.State == autobuild.HookActive && after.RemoteID != h.RemoteID {
		logctx.Log(ctx, c.o.Log).
			WithField("repository", r.FullName).
			Warn("the webhook was gone at Bitbucket; it was made anew")
	}
	return err
}

// accountsOf lists the accounts of automated builds, in their order.
func accountsOf(builds []autobuild.AutomatedBuild) []string {
	accounts := make([]string, 0, len(builds))
	for _, a := range builds {
		accounts = append(accounts, a.AccountID)
	}
	return accounts
}
