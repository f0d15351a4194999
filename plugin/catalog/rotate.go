package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

const (
	// previousSecretValid is how long deliveries signed with a replaced secret are accepted:
	// Bitbucket may send some later, and a person needs time to paste the new secret.
	previousSecretValid = 24 * time.Hour
	// maxRewrites limits how often one registration writes a secret that other processes replace.
	maxRewrites = 3
)

// A Rotation is the result of replacing a webhook's secret.
type Rotation struct {
	Hook autobuild.Hook // with the new secret; the old one is accepted until Hook.PreviousUntil
	// Resumed is true if no new secret was made, because Bitbucket had not confirmed the last one.
	Resumed bool
	// Refusal is Bitbucket's error if it rejected the secret. It is nil if Bitbucket accepted the
	// secret, or if the webhook is not managed here (autobuild.HookPolled). CheckHook and Tidy write
	// the secret later.
	Refusal error
}

// RotatedRecently is the error for a webhook whose secret was replaced less than 24 hours ago. A
// second replacement would end the oldest secret too early.
type RotatedRecently struct {
	Repository string    // full name
	Until      time.Time // when the secret can be replaced again
}

func (e *RotatedRecently) Error() string {
	return fmt.Sprintf("replace webhook secret of %s: it was replaced less than %d hours ago: try again after %s",
		e.Repository, int(previousSecretValid.Hours()), e.Until.UTC().Format("2006-01-02 15:04 MST"))
}

// RotateSecret replaces the secret of a repository's webhook. Deliveries signed with the old one
// are accepted for 24 more hours. The new secret is stored first and then written to Bitbucket, so
// that the gateway knows the secret of every delivery. If the process dies in between, the secret is
// pending until RotateSecret, CheckHook or Tidy write it. The call continues after ctx ends. It
// returns ErrNotFound if there is no webhook, *RotatedRecently, or ErrConflict if another process
// replaced the secret at the same time.
func (c *Catalog) RotateSecret(ctx context.Context, r autobuild.Repository) (Rotation, error) {
	ctx, cancel := detach(ctx)
	defer cancel()
	defer c.lock(r)()
	h, err := c.o.Store.HookOf(ctx, r)
	if err != nil {
		return Rotation{}, err
	}
	resumed := h.SecretPending()
	if !resumed {
		now := c.o.Now()
		if now.Before(h.PreviousUntil) {
			return Rotation{}, &RotatedRecently{Repository: h.Repository.FullName, Until: h.PreviousUntil}
		}
		h, err = c.o.Store.ReplaceHookSecret(ctx, h, newHookSecret(), now.Add(previousSecretValid))
		if err != nil {
			return Rotation{}, err
		}
		logctx.Log(ctx, c.o.Log).WithField("repository", h.Repository.FullName).Info("webhook secret replaced")
	}
	if h.State != autobuild.HookActive {
		return Rotation{Hook: h}, nil
	}
	builds, err := c.o.Store.AutomatedBuildsOf(ctx, r)
	if err != nil {
		return Rotation{}, err
	}
	written, refusal, err := c.registerHook(ctx, h, h, candidates(h, accountsOf(builds)...))
	if err != nil {
		return Rotation{}, err
	}
	return Rotation{Hook: written, Resumed: resumed, Refusal: refusal}, nil
}

// registerNewest registers the webhook with the newest secret. Another process may replace the
// secret at the same time, and this process would overwrite it at the provider. So the hook is read
// again after each registration. refusal is the provider's error; err is the store's.
func (c *Catalog) registerNewest(
	ctx context.Context,
	h autobuild.Hook,
) (registered autobuild.Hook, refusal, err error) {
	for range maxRewrites {
		h.RemoteID, refusal = c.register(ctx, h)
		if refusal != nil {
			return h, refusal, nil
		}
		newest, err := c.o.Store.Hook(ctx, h.ID)
		if err != nil {
			return h, nil, err
		}
		if newest.SecretVersion == h.SecretVersion {
			h, err = c.confirmSecret(ctx, h)
			return h, nil, err
		}
		h.Secret, h.SecretVersion = newest.Secret, newest.SecretVersion
		h.PreviousSecret, h.PreviousUntil = newest.PreviousSecret, newest.PreviousUntil
		h.SecretWritten = 0 // the provider may have the older secret, so write this one again
	}
	return h, errors.New("other processes keep replacing the secret"), nil
}

func (c *Catalog) confirmSecret(ctx context.Context, h autobuild.Hook) (autobuild.Hook, error) {
	if h.SecretWritten >= h.SecretVersion {
		return h, nil
	}
	if err := c.o.Store.ConfirmHookSecret(ctx, h.ID, h.SecretVersion); err != nil {
		return h, err
	}
	h.SecretWritten = h.SecretVersion
	return h, nil
}
