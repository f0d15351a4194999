// Package intake receives webhook deliveries. It verifies the signature over the received bytes,
// and stores the delivery with its task before the reply is 2xx. It does not read the body and
// calls no other service. Bitbucket waits ten seconds for the reply; it retries at once after a
// 5xx, and never after a 4xx.
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
)

// MaxBody is the maximum size of a delivery's body, in bytes. Each kind of provider has a lower
// limit.
const MaxBody = 10 << 20

// CommitTimeout is how long the database is tried for one delivery, because Bitbucket closes the connection
// after ten seconds.
const CommitTimeout = 8 * time.Second

// touchEvery is the minimum interval between two updates of a hook's last delivery.
const touchEvery = 30 * time.Second

// touchTime bounds that update. Together with CommitTimeout it ends before Bitbucket closes the
// connection of a delivery that is stored already.
const touchTime = time.Second

// Errors of Receive.
var (
	// ErrUnauthorized means that the hook is unknown or the signature is wrong. Callers cannot
	// distinguish the two.
	ErrUnauthorized = fmt.Errorf("webhook or signature: %w", autobuild.ErrUnauthorized)
	// ErrTooLarge means that the body exceeds MaxBody or the limit of the hook's provider.
	ErrTooLarge = errors.New("the delivery is too large")
)

// Options configure an Intake. Store and Log are required.
type Options struct {
	Store         Store
	Now           func() time.Time // nil means time.Now
	CommitTimeout time.Duration    // default CommitTimeout
	Log           logrus.FieldLogger
	// Poll schedules a poll of a webhook's refs. It is called for a signed delivery that is too large, so that
	// its push is still found soon. nil means no calls.
	Poll func(hookID string)
	// Observe is called with the result of each request: stored, ping, unauthorized, too_large
	// or unavailable. nil means no calls.
	Observe func(result string)
}

// An Intake receives deliveries. It is safe for concurrent use.
type Intake struct {
	o      Options
	decoy  secret.Secret // verifies the deliveries to unknown hooks
	known  keptHooks
	absent keptHooks // ids without a webhook, so that a refusal takes about the same time for all ids

	mu      sync.Mutex
	touched map[string]time.Time // by hook id
	refused map[bool]*refusals   // of known (true) and unknown (false) webhooks
}

// New returns an Intake and fills in the defaults of its options.
func New(o Options) *Intake {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CommitTimeout == 0 {
		o.CommitTimeout = CommitTimeout
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	if o.Poll == nil {
		o.Poll = func(string) {}
	}
	return &Intake{
		o:       o,
		decoy:   secret.New(rand.Text()),
		known:   keptHooks{byID: map[string]knownHook{}},
		absent:  keptHooks{byID: map[string]knownHook{}},
		touched: map[string]time.Time{},
		refused: map[bool]*refusals{true: {}, false: {}},
	}
}

// Receive verifies and stores a delivery with its body and header as received. If it returns nil,
// the delivery is durable. It returns ErrUnauthorized or ErrTooLarge for deliveries that must not
// be retried; any other error is autobuild.ErrUnavailable. Receive is safe for concurrent use.
func (i *Intake) Receive(ctx context.Context, hookID string, header http.Header, body []byte) error {
	if len(body) <= MaxBody && header.Get(eventHeader) == pingEvent {
		i.o.Observe("ping")
		return nil // the unsigned connection test of Data Center
	}
	err := i.receive(ctx, hookID, header, body)
	i.o.Observe(resultOf(err))
	return err
}

// knownTime bounds the read of Known, so that the rest of CommitTimeout ends before Bitbucket closes the
// connection.
const knownTime = time.Second

// Known reports whether a webhook exists. It is false if that cannot be read within a second. A caller may use
// it before the signature is verified only to share resources, because anyone can send the id. Its time shows
// only whether a delivery with this id arrived within the last second.
func (i *Intake) Known(ctx context.Context, hookID string) bool {
	ctx, cancel := context.WithTimeout(ctx, knownTime)
	defer cancel()
	now := i.o.Now()
	if _, ok := i.known.get(hookID, now); ok {
		return true
	}
	if _, ok := i.absent.get(hookID, now); ok {
		return false
	}
	_, err := i.load(ctx, hookID)
	return err == nil
}

// resultOf returns the result of a request for Options.Observe.
func resultOf(err error) string {
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
	limited, cancel := context.WithTimeout(ctx, i.o.CommitTimeout)
	defer cancel()
	hook, err := i.authenticate(limited, hookID, header, body)
	if err != nil {
		return err
	}
	if err := i.checkSize(limited, hook, body); err != nil {
		return err
	}
	id, err := i.commit(limited, deliveryOf(hook.Hook, header, body, i.o.Now()))
	if err != nil {
		logctx.Log(ctx, i.o.Log).
			WithError(err).
			WithField("hook", hook.ID).
			Error("delivery not stored; Bitbucket will send it again")
		return err
	}
	ctx = logctx.Delivery(ctx, id)
	logctx.Log(ctx, i.o.Log).
		WithFields(logrus.Fields{"hook": hook.ID, "event": header.Get(eventHeader)}).
		Info("delivery received")
	i.touch(ctx, hook.Hook)
	return nil
}

// authenticate verifies the signature with the webhook as it was read within the last second, and if that
// fails as it is now: its secret may have been replaced. So it takes the same time for an unknown webhook as
// for a wrong signature, and returns the same error. A refusal costs four sums over the body.
func (i *Intake) authenticate(
	ctx context.Context, hookID string, header http.Header, body []byte,
) (knownHook, error) {
	hook, ok := i.known.get(hookID, i.o.Now())
	if err := webhook.Verify(body, header, i.secretsOf(hook, ok)...); err == nil && ok {
		return hook, nil
	}
	hook, err := retry(ctx, func() (knownHook, error) { return i.load(ctx, hookID) })
	unknown := errors.Is(err, autobuild.ErrNotFound)
	if err != nil && !unknown {
		return knownHook{}, unavailable("load webhook", err)
	}
	if err := webhook.Verify(body, header, i.secretsOf(hook, !unknown)...); err != nil || unknown {
		i.logRefused(ctx, hookID, !unknown)
		return knownHook{}, ErrUnauthorized
	}
	return hook, nil
}

func (i *Intake) checkSize(ctx context.Context, h knownHook, body []byte) error {
	h, err := i.withLimit(ctx, h)
	if err != nil || len(body) <= h.limit {
		return err
	}
	i.o.Poll(h.ID)
	logctx.Log(ctx, i.o.Log).WithFields(logrus.Fields{"hook": h.ID, "bytes": len(body)}).
		Warn("delivery is too large and not stored; its push is found by a poll")
	return fmt.Errorf("%w: %d bytes, %s sends at most %d", ErrTooLarge, len(body), h.kind, h.limit)
}

// commit stores the delivery, with retries until ctx ends.
func (i *Intake) commit(ctx context.Context, d autobuild.Delivery) (string, error) {
	id, err := retry(ctx, func() (string, error) { return i.o.Store.ReceiveDelivery(ctx, d) })
	if err != nil {
		return "", unavailable("store delivery of webhook "+d.HookID, err)
	}
	return id, nil
}

// retry calls f until it succeeds or returns autobuild.ErrNotFound, or until the deadline of ctx. It returns the
// last error of f. A database that is busy or restarts must not lose a push.
func retry[T any](ctx context.Context, f func() (T, error)) (result T, last error) {
	deadline, _ := ctx.Deadline()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 20*time.Millisecond, time.Second
	// Its own error is not used: if ctx ends, it does not show the cause.
	_, _ = backoff.Retry(ctx, func() (struct{}, error) {
		result, last = f()
		if errors.Is(last, autobuild.ErrNotFound) {
			return struct{}{}, backoff.Permanent(last)
		}
		return struct{}{}, last
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(time.Until(deadline)))
	return result, last
}

// touch stores the time of the hook's last delivery, at most every touchEvery. The delivery is
// stored already, so touch must not delay the reply for long.
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
		logctx.Log(ctx, i.o.Log).WithError(err).WithField("hook", h.ID).Warn("time of the last delivery not stored")
	}
}

func unavailable(operation string, err error) error {
	return fmt.Errorf("%s: %w (%w)", operation, err, autobuild.ErrUnavailable)
}
