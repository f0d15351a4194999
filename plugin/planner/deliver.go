package planner

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
	"slipway/plugin/provider"
)

// Deliver plans one delivery: it stores builds, or the reason why it stored none. It leaves a
// finished or deleted delivery unchanged. After an error the task must be retried; an error from
// queue.Snooze contains the delay. Deliver is safe for concurrent use.
func (p *Planner) Deliver(ctx context.Context, deliveryID string) error {
	ctx = logctx.Delivery(ctx, deliveryID)
	d, err := p.o.Store.Delivery(ctx, deliveryID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load delivery: %w", err)
	}
	if d.State != autobuild.DeliveryReceived {
		return nil
	}
	hook, err := p.o.Store.Hook(ctx, d.HookID)
	if errors.Is(err, autobuild.ErrNotFound) {
		return p.finishDelivery(ctx, d.ID, autobuild.DeliveryIgnored, "its webhook was deleted")
	}
	if err != nil {
		return fmt.Errorf("load webhook of delivery %s: %w", d.ID, err)
	}
	source, err := p.o.Store.Provider(ctx, hook.Repository.ProviderID)
	if err != nil {
		return fmt.Errorf("load source provider of delivery %s: %w", d.ID, err)
	}
	push, err := provider.ParsePush(source.Kind, d.Event, d.Body)
	if err != nil {
		return p.finishDelivery(ctx, d.ID, autobuild.DeliveryFailed, "cannot parse the payload: "+err.Error())
	}
	if state, reason := checkPush(hook, push); state != "" {
		return p.finishDelivery(ctx, d.ID, state, reason)
	}
	err = p.withRepoLock(ctx, hook, autobuild.CausePush, func(r *planning) error { return r.deliver(ctx, d, push) })
	return p.handleError(ctx, d, err)
}

// checkPush returns a state and a reason if the webhook must not plan this push, before any call
// to the provider. A webhook's secret authenticates deliveries for the webhook's own repository
// only.
func checkPush(hook autobuild.Hook, push autobuild.Push) (autobuild.DeliveryState, string) {
	switch {
	case push.Ignored != "":
		return autobuild.DeliveryIgnored, push.Ignored
	case push.Repository.ID == "":
		return autobuild.DeliveryRefused, "the payload names no repository"
	case push.Repository.ID != hook.Repository.ID:
		return autobuild.DeliveryRefused, fmt.Sprintf(
			"the payload is from repository %.64q, but the webhook belongs to %s (%s)",
			push.Repository.ID,
			hook.Repository.FullName,
			hook.Repository.ID,
		)
	case len(push.Changes) == 0:
		return autobuild.DeliveryIgnored, "no branch or tag changed"
	}
	return "", ""
}

// finishDelivery stores the final state of a delivery without transitions.
func (p *Planner) finishDelivery(
	ctx context.Context, deliveryID string, state autobuild.DeliveryState, reason string,
) error {
	if _, err := p.o.Store.Plan(ctx, autobuild.Plan{DeliveryID: deliveryID, State: state, Reason: reason}); err != nil {
		return fmt.Errorf("store the result of delivery %s: %s: %w", deliveryID, state, err)
	}
	p.logResult(ctx, state, reason)
	return nil
}

// logResult logs the result of a delivery. Later log lines about its builds have the build
// numbers.
func (p *Planner) logResult(ctx context.Context, state autobuild.DeliveryState, reason string) {
	logctx.Log(ctx, p.o.Log).WithField("state", state).WithField("reason", reason).Info("delivery answered")
}

// handleError converts a planning error to the result of the task. If time or an administrator
// can fix the error, the delivery waits and its page shows the reason. Other provider errors
// finish the delivery as failed.
func (p *Planner) handleError(ctx context.Context, d autobuild.Delivery, err error) error {
	f := errorActionFor(err, p.o.Now().Sub(d.ReceivedAt))
	switch {
	case f.snooze != nil:
		logctx.Log(ctx, p.o.Log).WithError(err).Warn("delivery waits")
		if d.Reason != f.reason {
			if err := p.o.Store.ExplainDelivery(ctx, d.ID, f.reason); err != nil {
				return err
			}
		}
		return f.snooze
	case f.reason != "":
		logctx.Log(ctx, p.o.Log).WithError(err).Error("delivery failed")
		return p.finishDelivery(ctx, d.ID, autobuild.DeliveryFailed, f.reason)
	}
	return err
}
