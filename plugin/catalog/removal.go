package catalog

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// LeftBehind is the error for a webhook that still exists at the provider, but no longer in the
// store. Its deliveries are rejected.
type LeftBehind struct {
	Repository string // full name
	URL        string // of the webhook
	Err        error  // the provider's error
}

func (e *LeftBehind) Error() string {
	return fmt.Sprintf(
		"the webhook of %s could not be removed (%s): remove the one with the URL %s by hand, in the repository's "+
			"settings under Webhooks",
		e.Repository,
		e.Err,
		e.URL,
	)
}

// Unwrap returns the cause.
func (e *LeftBehind) Unwrap() error { return e.Err }

// removeHook removes a repository's webhook at the provider and deletes it from the store. It
// deletes it even if the provider fails, because a repository without automated builds is not
// polled.
func (c *Catalog) removeHook(ctx context.Context, r autobuild.Repository) error {
	h, err := c.o.Store.HookOf(ctx, r)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	left := c.unregister(ctx, h)
	if err := c.o.Store.DeleteHook(ctx, h.ID); err != nil {
		return err
	}
	return left
}

// unregister removes a webhook at the provider. The webhook of a polled repository may have been
// added by hand with our URL; it is removed if the account may do that.
func (c *Catalog) unregister(ctx context.Context, h autobuild.Hook) error {
	connection, err := c.connect(ctx, h.AccountID)
	if err == nil {
		err = connection.Hooks.Remove(ctx, h.Repository, c.webhook(h))
	}
	if err == nil || h.RemoteID == "" && h.DeliveredAt.IsZero() {
		return nil
	}
	return &LeftBehind{Repository: h.Repository.FullName, URL: c.HookURL(h), Err: err}
}

// Dropped is the result of DropAccount.
type Dropped struct {
	Removed []string         // full names of the repositories whose webhook was removed
	Failed  map[string]error // by full name; *LeftBehind
}

// DropAccount removes the webhooks that an account manages, before the account is unlinked. If an
// automated build of another account uses the repository, that account adds the webhook again.
func (c *Catalog) DropAccount(ctx context.Context, accountID string) (Dropped, error) {
	hooks, err := c.o.Store.HooksOfAccount(ctx, accountID)
	if err != nil {
		return Dropped{}, err
	}
	dropped := Dropped{Failed: map[string]error{}}
	for _, h := range hooks {
		err := c.dropHook(ctx, h)
		var left *LeftBehind
		switch {
		case err == nil:
			dropped.Removed = append(dropped.Removed, h.Repository.FullName)
		case errors.As(err, &left):
			dropped.Failed[h.Repository.FullName] = err
		default:
			return dropped, err
		}
	}
	return dropped, nil
}

// dropHook removes one webhook. If automated builds of another account use the repository, it adds
// the webhook again with that account.
func (c *Catalog) dropHook(ctx context.Context, h autobuild.Hook) error {
	defer c.lock(h.Repository)()
	builds, err := c.o.Store.AutomatedBuildsOf(ctx, h.Repository)
	if err != nil {
		return err
	}
	if len(builds) == 0 {
		return c.removeHook(ctx, h.Repository)
	}
	left := c.unregister(ctx, h)
	h.State, h.RemoteID = autobuild.HookPolled, ""
	h.Problem = "The linked account that managed the webhook was unlinked. Link it again, or choose another account " +
		"for the automated build."
	h, err = c.o.Store.SaveHook(ctx, h)
	if err != nil {
		return err
	}
	for _, a := range builds {
		if a.AccountID != h.AccountID {
			if _, err := c.ensureHook(ctx, h.Repository, a.AccountID); err != nil {
				return err
			}
			break
		}
	}
	return left
}
