// Package intake takes deliveries in: it proves a delivery's signature over the bytes
// received and makes it one durable row with its task before anybody answers 2xx. It
// reads nothing of the body and calls nobody: Bitbucket waits ten seconds, retries at once
// and only after a 5xx, and never again after a 4xx.
//
// Source: https://support.atlassian.com/bitbucket-cloud/docs/troubleshoot-webhooks/
package intake

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/logctx"
	"slipway/plugin/provider"
)

// MaxBody bounds the body of any delivery, in bytes; the flavours' own bounds lie below it.
const MaxBody = 10 << 20

// Patience is how long a commit is tried: Bitbucket hangs up after ten seconds.
const Patience = 8 * time.Second

// touchEvery bounds how often a hook's last delivery is written down.
const touchEvery = 30 * time.Second

// touchTime bounds writing it down: with Patience it ends before Bitbucket hangs up on a
// delivery that is safe already.
const touchTime = time.Second

// What Receive answers; any other error is worth another attempt and is ErrUnavailable.
var (
	// ErrUnauthorized: there is no such hook, or the signature is not its secret's. Which of
	// the two is not told.
	ErrUnauthorized = fmt.Errorf("webhook or signature: %w", autobuild.ErrUnauthorized)
	ErrTooLarge     = errors.New("the delivery is too large")
)

// Store is what intake needs of the store.
type Store interface {
	Hook(ctx context.Context, id string) (autobuild.Hook, error)
	Provider(ctx context.Context, id string) (autobuild.Provider, error)
	ReceiveDelivery(ctx context.Context, d autobuild.Delivery) (id string, err error)
	TouchHook(ctx context.Context, id string, delivered, polled time.Time) error
}

// Options make an Intake.
type Options struct {
	Store    Store
	Now      func() time.Time // nil = time.Now
	Patience time.Duration    // default Patience
	Log      logrus.FieldLogger
	// Observe is told what each request was answered: stored, ping, unauthorized, too_large or
	// unavailable; nil = nobody is.
	Observe func(answer string)
}

// An Intake receives deliveries. It is safe for concurrent use.
type Intake struct {
	o     Options
	decoy secret.Secret // what deliveries to unknown hooks are verified against

	mu      sync.Mutex
	touched map[string]time.Time // by hook id
	refused map[bool]*refusals   // of webhooks that are known (true) and of others
}

// New returns an Intake.
func New(o Options) *Intake {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Patience == 0 {
		o.Patience = Patience
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	return &Intake{
		o:       o,
		decoy:   secret.New(rand.Text()),
		touched: map[string]time.Time{},
		refused: map[bool]*refusals{true: {}, false: {}},
	}
}

// Receive makes a delivery durable, body and header as they came. After nil the push is safe.
func (i *Intake) Receive(ctx context.Context, hookID string, header http.Header, body []byte) error {
	if len(body) <= MaxBody && header.Get(eventHeader) == pingEvent {
		i.o.Observe("ping")
		return nil // Data Center's connection test, unsigned; nothing follows from it
	}
	err := i.receive(ctx, hookID, header, body)
	i.o.Observe(wordOf(err))
	return err
}

// wordOf is an answer in one word.
func wordOf(err error) string {
	switch {
	case err == nil:
		return "stored"
	case errors.Is(err, ErrUnauthorized):
		return "unauthorized"
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	}
	return "unavailable"
}

func (i *Intake) receive(ctx context.Context, hookID string, header http.Header, body []byte) error {
	if len(body) > MaxBody {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBody)
	}
	hook, err := i.authenticate(ctx, hookID, header, body)
	if err != nil {
		return err
	}
	if err := i.checkSize(ctx, hook, body); err != nil {
		return err
	}
	id, err := i.commit(ctx, deliveryOf(hook, header, body, i.o.Now()))
	if err != nil {
		logctx.Log(ctx, i.o.Log).
			WithError(err).
			WithField("hook", hook.ID).
			Error("delivery not stored, Bitbucket is asked to send it again")
		return err
	}
	ctx = logctx.Delivery(ctx, id)
	logctx.Log(ctx, i.o.Log).
		WithFields(logrus.Fields{"hook": hook.ID, "event": header.Get(eventHeader)}).
		Info("delivery received")
	i.touch(ctx, hook)
	return nil
}

// authenticate finds the hook and proves the signature. An unknown hook costs the same work
// and gives the same answer as a wrong signature.
func (i *Intake) authenticate(
	ctx context.Context, hookID string, header http.Header, body []byte,
) (autobuild.Hook, error) {
	hook, err := i.o.Store.Hook(ctx, hookID)
	unknown := errors.Is(err, autobuild.ErrNotFound)
	if err != nil && !unknown {
		return autobuild.Hook{}, unavailable("load webhook", err)
	}
	secrets := []secret.Secret{i.decoy, i.decoy}
	if !unknown {
		secrets = i.secretsOf(hook)
	}
	if err := webhook.Verify(body, header, secrets...); err != nil || unknown {
		i.logRefused(ctx, hookID, !unknown)
		return autobuild.Hook{}, ErrUnauthorized
	}
	return hook, nil
}

// secretsOf returns the secrets that a hook's deliveries may be signed with at the moment, always
// two: the time of a refusal tells neither that a webhook exists nor that its secret was replaced.
func (i *Intake) secretsOf(h autobuild.Hook) []secret.Secret {
	if i.o.Now().Before(h.PreviousUntil) {
		return []secret.Secret{h.Secret, h.PreviousSecret}
	}
	return []secret.Secret{h.Secret, i.decoy}
}

func (i *Intake) checkSize(ctx context.Context, h autobuild.Hook, body []byte) error {
	p, err := i.o.Store.Provider(ctx, h.Repository.ProviderID)
	if err != nil {
		return unavailable("load source provider of webhook "+h.ID, err)
	}
	limit, err := provider.MaxPayload(p.Kind)
	if err != nil {
		return unavailable("find payload limit of webhook "+h.ID, err)
	}
	if len(body) > limit {
		return fmt.Errorf("%w: %d bytes, %s sends at most %d", ErrTooLarge, len(body), p.Kind, limit)
	}
	return nil
}

// commit stores the delivery, and tries again while there is time: a busy database must
// not cost a push.
func (i *Intake) commit(ctx context.Context, d autobuild.Delivery) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, i.o.Patience)
	defer cancel()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 20*time.Millisecond, time.Second
	id, err := backoff.Retry(ctx, func() (string, error) { return i.o.Store.ReceiveDelivery(ctx, d) },
		backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(i.o.Patience))
	if err != nil {
		return "", unavailable("store delivery of webhook "+d.HookID, err)
	}
	return id, nil
}

// touch notes that the hook delivers, seldom enough to cost nothing. The delivery is safe by
// now, and nothing here keeps its answer for long.
func (i *Intake) touch(ctx context.Context, h autobuild.Hook) {
	now := i.o.Now()
	i.mu.Lock()
	last, known := i.touched[h.ID]
	due := !known || now.Sub(last) >= touchEvery
	if due {
		i.touched[h.ID] = now
	}
	i.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), touchTime)
	defer cancel()
	if err := i.o.Store.TouchHook(ctx, h.ID, now, time.Time{}); err != nil {
		logctx.Log(ctx, i.o.Log).WithError(err).WithField("hook", h.ID).Warn("time of the last delivery not noted")
	}
}

func unavailable(operation string, err error) error {
	return fmt.Errorf("%s: %w (%w)", operation, err, autobuild.ErrUnavailable)
}
