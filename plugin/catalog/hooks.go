package catalog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/provider"
)

// secretBytes is the number of random bytes in a webhook's secret. Written as hex, it is half of
// the length that Cloud accepts.
const secretBytes = 32

// HookURL returns the URL that receives a hook's deliveries.
func (c *Catalog) HookURL(h autobuild.Hook) string { return c.o.URL + "/hooks/bitbucket/" + h.ID }

// EnsureHook adds or repairs the webhook of a repository and returns it. It is idempotent. If the
// webhook cannot be added, the hook is HookPolled and has a Problem. Errors are errors of the store.
func (c *Catalog) EnsureHook(ctx context.Context, r autobuild.Repository, accountID string) (autobuild.Hook, error) {
	defer c.lock(r)()
	return c.ensureHook(ctx, r, accountID)
}

// RestoreHooks adds the webhooks of all repositories whose automated builds use an account, after
// the account was linked again. A webhook that cannot be added has a Problem. Errors are errors of
// the store.
func (c *Catalog) RestoreHooks(ctx context.Context, accountID string) error {
	builds, err := c.o.Store.BareAutomatedBuilds(ctx, autobuild.BareFilter{AccountID: accountID})
	if err != nil {
		return err
	}
	var errs []error
	seen := map[string]bool{}
	for _, a := range builds {
		if seen[a.Repository.ID] {
			continue
		}
		seen[a.Repository.ID] = true
		if _, err := c.EnsureHook(ctx, a.Repository, accountID); err != nil {
			errs = append(errs, fmt.Errorf("restore webhook of %s: %w", a.Repository.FullName, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Catalog) ensureHook(ctx context.Context, r autobuild.Repository, accountID string) (autobuild.Hook, error) {
	h, err := c.o.Store.HookOf(ctx, r)
	if errors.Is(err, autobuild.ErrNotFound) {
		h, err = c.newHook(ctx, r, accountID)
	}
	if err != nil {
		return autobuild.Hook{}, err
	}
	before := h
	h.Repository = r
	saved, _, err := c.registerHook(ctx, before, h, candidates(h, accountID))
	return saved, err
}

// registerHook registers a webhook with the first account that can do it, and stores the result.
// refusal is the provider's error if the webhook is not registered; err is the store's.
func (c *Catalog) registerHook(
	ctx context.Context,
	before, h autobuild.Hook,
	accounts []string,
) (saved autobuild.Hook, refusal, err error) {
	var temporary, problem error
	for _, id := range accounts {
		h.AccountID = id
		registered, refused, err := c.registerNewest(ctx, h)
		if err != nil {
			return autobuild.Hook{}, nil, err
		}
		if refused == nil {
			registered.State, registered.Problem = autobuild.HookActive, ""
			if isUnchanged(before, registered) {
				return registered, nil, nil
			}
			saved, err := c.o.Store.SaveHook(ctx, registered)
			return saved, nil, err
		}
		problem = refused
		if !isPermanent(problem) {
			temporary = problem
		}
	}
	log := logctx.Log(ctx, c.o.Log).WithField("repository", h.Repository.FullName)
	if before.State == autobuild.HookActive && temporary != nil {
		log.WithError(temporary).Warn("cannot check the webhook; it stays as it is")
		return before, temporary, nil
	}
	h.State, h.RemoteID, h.Problem = autobuild.HookPolled, "", c.explain(ctx, h, problem)
	log.WithError(problem).Info("no webhook; the repository is polled")
	saved, err = c.o.Store.SaveHook(ctx, h)
	return saved, problem, err
}

// candidates returns the accounts that can manage a hook. The account of an active hook comes
// first.
func candidates(h autobuild.Hook, accounts ...string) []string {
	var all []string
	if h.State == autobuild.HookActive {
		all = append(all, h.AccountID)
	}
	for _, id := range accounts {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// isUnchanged reports whether a check of a webhook found nothing new.
func isUnchanged(before, after autobuild.Hook) bool {
	return before.State == after.State && before.Problem == after.Problem && before.AccountID == after.AccountID &&
		before.RemoteID == after.RemoteID && before.Repository == after.Repository
}

// beingAdded is the problem of a hook until the provider was asked for the webhook. A hook that has
// it when a gateway starts was left by a process that died.
const beingAdded = "The webhook is being added."

// newHook stores the first hook of a repository. The current refs are the baseline, because rules
// are not retroactive. They are read before the webhook is added, so that the next poll finds a
// push in between.
func (c *Catalog) newHook(ctx context.Context, r autobuild.Repository, accountID string) (autobuild.Hook, error) {
	at, err := c.baseline(ctx, r, accountID)
	if err != nil {
		return autobuild.Hook{}, err
	}
	return c.o.Store.SaveHook(ctx, autobuild.Hook{
		AccountID: accountID, Repository: r, Secret: newHookSecret(),
		State: autobuild.HookPolled, Problem: beingAdded, PolledAt: at,
	})
}

func newHookSecret() secret.Secret {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails: it ends the program if the system has no randomness
	return secret.New(hex.EncodeToString(random))
}

// baseline records the heads of all refs, and returns the time before they were read. If the
// provider does not respond, the time is zero and the first poll records the baseline.
func (c *Catalog) baseline(ctx context.Context, r autobuild.Repository, accountID string) (time.Time, error) {
	at := c.o.Now()
	connection, err := c.connect(ctx, accountID)
	if err != nil {
		return time.Time{}, ctx.Err()
	}
	heads, err := provider.StableHeads(ctx, connection.Commits, r)
	if err != nil {
		logctx.Log(ctx, c.o.Log).
			WithError(err).
			WithField("repository", r.FullName).
			Warn("cannot list refs; the first poll records them")
		return time.Time{}, ctx.Err()
	}
	return at, c.o.Store.AdoptRefs(ctx, r, heads)
}

var errNoURL = errors.New("the gateway has no public URL")

// register adds or updates the webhook at the provider.
func (c *Catalog) register(ctx context.Context, h autobuild.Hook) (remoteID string, err error) {
	if c.o.URL == "" {
		return h.RemoteID, errNoURL
	}
	connection, err := c.connect(ctx, h.AccountID)
	if err != nil {
		return h.RemoteID, err
	}
	remoteID, err = connection.Hooks.Ensure(ctx, h.Repository, c.webhook(h))
	if err != nil {
		return h.RemoteID, fmt.Errorf("ensure webhook of %s: %w", h.Repository.FullName, err)
	}
	return remoteID, nil
}

func (c *Catalog) webhook(h autobuild.Hook) autobuild.Webhook {
	return autobuild.Webhook{
		RemoteID: h.RemoteID,
		URL:      c.HookURL(h),
		Secret:   h.Secret,
		Rewrite:  h.SecretWritten < h.SecretVersion,
	}
}

// isPermanent reports whether an error of the provider is final. After other errors an active webhook
// stays as it is.
func isPermanent(err error) bool {
	for _, refusal := range []error{
		autobuild.ErrForbidden, autobuild.ErrHookRefused, autobuild.ErrNotFound, autobuild.ErrRemoved, errNoURL,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// explain returns a sentence with the reason why there is no webhook, and the fix.
func (c *Catalog) explain(ctx context.Context, h autobuild.Hook, err error) string {
	name := h.AccountID
	if a, found := c.o.Store.Account(ctx, h.AccountID); found == nil {
		name = a.Name
	}
	switch {
	case errors.Is(err, errNoURL):
		return "The gateway has no public URL, so Bitbucket cannot reach it. Set SLIPWAY_URL."
	case errors.Is(err, autobuild.ErrForbidden):
		return fmt.Sprintf(
			"The linked account %s may not add webhooks to %s. Only an administrator of the repository may. Link such an "+
				"account, or add the webhook by hand.",
			name,
			h.Repository.FullName,
		)
	case errors.Is(err, autobuild.ErrHookRefused):
		return fmt.Sprintf(
			"Bitbucket rejects the webhook URL %s (%s). The URL must be reachable from the internet.",
			c.HookURL(h),
			err,
		)
	case errors.Is(err, autobuild.ErrUnauthorized):
		return fmt.Sprintf("Bitbucket does not accept the linked account %s. Link it again.", name)
	}
	return fmt.Sprintf("Cannot add the webhook: %s.", err)
}
