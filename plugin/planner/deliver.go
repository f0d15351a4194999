package planner

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/provider"
	"slipway/plugin/trail"
)

// Deliver answers one delivery: builds, or the reason why there are none, stored. An error
// means that it is to be tried again; deliveries that were answered stay as they are.
func (p *Planner) Deliver(ctx context.Context, deliveryID string) error {
	ctx = trail.Delivery(ctx, deliveryID)
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
		return p.conclude(ctx, d.ID, autobuild.DeliveryIgnored, "its webhook was removed meanwhile")
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
		return p.conclude(ctx, d.ID, autobuild.DeliveryFailed, "not understood: "+err.Error())
	}
	if state, reason := refuse(hook, push); state != "" {
		return p.conclude(ctx, d.ID, state, reason)
	}
	err = p.inTurn(ctx, hook, autobuild.CausePush, func(r *round) error { return r.deliver(ctx, d, push) })
	return p.answerTo(ctx, d, err)
}

// refuse says why a push is none that this hook plans, before anybody is asked about it.
// The hook's repository is the only one that its secret speaks for.
func refuse(hook autobuild.Hook, push autobuild.Push) (autobuild.DeliveryState, string) {
	switch {
	case push.Ignored != "":
		return autobuild.DeliveryIgnored, push.Ignored
	case push.Repository.ID == "":
		return autobuild.DeliveryRefused, "it does not say which repository it is about"
	case push.Repository.ID != hook.Repository.ID:
		return autobuild.DeliveryRefused, fmt.Sprintf("it is about repository %.64q, this webhook is of %s (%s)",
			push.Repository.ID, hook.Repository.FullName, hook.Repository.ID)
	case len(push.Changes) == 0:
		return autobuild.DeliveryIgnored, "it changed no branch and no tag"
	}
	return "", ""
}

// conclude ends a delivery that moves nothing.
func (p *Planner) conclude(ctx context.Context, deliveryID string, state autobuild.DeliveryState, reason string) error {
	if _, err := p.o.Store.Plan(ctx, autobuild.Plan{DeliveryID: deliveryID, State: state, Reason: reason}); err != nil {
		return fmt.Errorf("write down that delivery %s is %s: %w", deliveryID, state, err)
	}
	p.tellAnswer(ctx, state, reason)
	return nil
}

// tellAnswer logs what a delivery came to: what follows of it has the numbers of its builds.
func (p *Planner) tellAnswer(ctx context.Context, state autobuild.DeliveryState, reason string) {
	trail.Log(ctx, p.o.Log).WithField("state", state).WithField("reason", reason).Info("delivery answered")
}

// answerTo turns an error of planning into the task's: what time or a person mends waits,
// with the reason on the delivery's page, and the rest ends the delivery.
func (p *Planner) answerTo(ctx context.Context, d autobuild.Delivery, err error) error {
	f := faultOf(err, p.o.Now().Sub(d.ReceivedAt))
	switch {
	case f.snooze != nil:
		trail.Log(ctx, p.o.Log).WithError(err).Warn("delivery waits")
		if d.Reason != f.reason {
			if err := p.o.Store.ExplainDelivery(ctx, d.ID, f.reason); err != nil {
				return err
			}
		}
		return f.snooze
	case f.reason != "":
		trail.Log(ctx, p.o.Log).WithError(err).Error("delivery failed")
		return p.conclude(ctx, d.ID, autobuild.DeliveryFailed, f.reason)
	}
	return err
}
