package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

// hookDescription is the name of the webhook on the repository's settings page.
const hookDescription = "Slipway automated builds"

// hookEvents are the events that a webhook must send.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/.
var hookEvents = []string{"repo:push"}

type hooks struct{ *connection }

var _ autobuild.Hooks = hooks{}

// Ensure creates, repairs or keeps the only webhook with w.URL, and returns its id. A secret
// cannot be read back. So Ensure writes it again, unless the webhook has the id w.RemoteID and
// w.Rewrite is false. It returns autobuild.ErrHookRefused if Cloud rejects the URL.
func (p hooks) Ensure(ctx context.Context, r autobuild.Repository, w autobuild.Webhook) (string, error) {
	id, err := address(r)
	if err != nil {
		return "", err
	}
	if w.Secret.IsZero() {
		return "", fmt.Errorf("create webhook %s: it has no secret", w.URL)
	}
	all, err := p.Client.Hooks(ctx, id)
	if err != nil {
		return "", fmt.Errorf("webhooks of %s: %w", r.FullName, Translate(err))
	}
	keep, doubles := choose(all, w)
	remoteID, err := p.keep(ctx, id, keep, w)
	if err != nil {
		return "", fmt.Errorf("webhook of %s: %w", r.FullName, refusedError(err))
	}
	for _, double := range doubles {
		if err := p.delete(ctx, id, double.UUID); err != nil {
			return "", fmt.Errorf("second webhook of %s: %w", r.FullName, err)
		}
	}
	return remoteID, nil
}

// choose returns the webhook to keep and the duplicates to delete, among those with the full
// w.URL. It prefers the one with the id w.RemoteID. Webhooks with other URLs on the same host
// belong to others.
func choose(all []cloud.Hook, w autobuild.Webhook) (keep *cloud.Hook, doubles []cloud.Hook) {
	var ours []cloud.Hook
	for _, h := range all {
		if h.URL == w.URL {
			ours = append(ours, h)
		}
	}
	if len(ours) == 0 {
		return nil, nil
	}
	i := max(0, slices.IndexFunc(ours, func(h cloud.Hook) bool { return h.UUID == w.RemoteID }))
	return &ours[i], slices.Delete(slices.Clone(ours), i, i+1)
}

// isComplete reports whether a webhook needs no repair.
func isComplete(h cloud.Hook, w autobuild.Webhook) bool {
	missing := slices.ContainsFunc(hookEvents, func(e string) bool { return !slices.Contains(h.Events, e) })
	return h.Active && h.SecretSet && !missing && h.UUID == w.RemoteID && !w.Rewrite
}

func (p hooks) keep(ctx context.Context, id cloud.RepositoryID, keep *cloud.Hook, w autobuild.Webhook) (string, error) {
	settings := cloud.HookSettings{Description: hookDescription, URL: w.URL, Events: hookEvents, Secret: w.Secret}
	switch {
	case keep == nil:
		made, err := p.Client.CreateHook(ctx, id, settings)
		return made.UUID, err
	case isComplete(*keep, w):
		return keep.UUID, nil
	default:
		_, err := p.Client.UpdateHook(ctx, id, keep.UUID, settings)
		return keep.UUID, err
	}
}

// refusedError returns ErrHookRefused with Cloud's message if Cloud rejected the URL (400). It
// translates other errors.
func refusedError(err error) error {
	var e *bitbucket.Error
	if errors.As(err, &e) && errors.Is(e, bitbucket.ErrInvalid) {
		return fmt.Errorf("%w: %s", autobuild.ErrHookRefused, e.Explanation())
	}
	return Translate(err)
}

// Remove deletes the webhook with the id w.RemoteID and all webhooks with w.URL. It returns nil
// if the repository does not exist.
func (p hooks) Remove(ctx context.Context, r autobuild.Repository, w autobuild.Webhook) error {
	id, err := address(r)
	if err != nil {
		return err
	}
	all, err := p.Client.Hooks(ctx, id)
	if errors.Is(err, bitbucket.ErrNotFound) {
		return nil // the repository was deleted together with its webhooks
	}
	if err != nil {
		return fmt.Errorf("webhooks of %s: %w", r.FullName, Translate(err))
	}
	for _, h := range all {
		if h.URL != w.URL && h.UUID != w.RemoteID {
			continue
		}
		if err := p.delete(ctx, id, h.UUID); err != nil {
			return fmt.Errorf("webhook of %s: %w", r.FullName, err)
		}
	}
	return nil
}

func (p hooks) delete(ctx context.Context, id cloud.RepositoryID, uuid string) error {
	err := p.Client.DeleteHook(ctx, id, uuid)
	if errors.Is(err, bitbucket.ErrNotFound) {
		return nil
	}
	return Translate(err)
}
