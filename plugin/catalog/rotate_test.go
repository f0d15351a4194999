package catalog_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/catalog"
	"slipway/plugin/intake"
)

const day = 24 * time.Hour

// I2: after a rotation Bitbucket signs with the new secret, and the old one is accepted for 24
// hours and no longer.
func TestI2RotateSecret(t *testing.T) {
	e := newRotateEnv(t)
	body := []byte(`{}`)
	old := e.sign(t, body)
	rotation, err := e.catalog.RotateSecret(t.Context(), e.build.Repository)
	must.Succeed(t, err)
	if rotation.Refusal != nil {
		t.Fatalf("refusal: got %v, want nil", rotation.Refusal)
	}
	if rotation.Resumed {
		t.Error("resumed rotation: got true, want false")
	}
	if rotation.Hook.Secret.Equal(e.hook.Secret) {
		t.Error("secret: got the old one, want a new one")
	}
	if rotation.Hook.SecretPending() {
		t.Error("pending secret: got one, want none")
	}
	if want := e.clock().Add(day); !rotation.Hook.PreviousUntil.Equal(want) {
		t.Errorf("old secret accepted until: got %s, want %s", rotation.Hook.PreviousUntil, want)
	}
	if got, want := e.sign(t, body).
		Get(webhook.SignatureHeader),
		webhook.Sign(
			body,
			rotation.Hook.Secret,
		); got != want {
		t.Errorf("Bitbucket signs %s, want %s", got, want)
	}
	if err := e.deliver(t); err != nil {
		t.Errorf("a delivery with the new secret: got error %v, want none", err)
	}
	e.pass(day - time.Second)
	if err := e.intake.Receive(t.Context(), e.hook.ID, old, body); err != nil {
		t.Errorf("a delivery with the old secret within 24 hours: got error %v, want none", err)
	}
	e.pass(time.Second)
	if err := e.intake.Receive(t.Context(), e.hook.ID, old, body); !errors.Is(err, intake.ErrUnauthorized) {
		t.Errorf("a delivery with the old secret after 24 hours: got %v, want ErrUnauthorized", err)
	}
	if err := e.deliver(t); err != nil {
		t.Errorf("a delivery with the new secret after 24 hours: got error %v, want none", err)
	}
}

// A second rotation within 24 hours would end the oldest secret before its time.
func TestI2ASecondRotationWithinADayIsRefused(t *testing.T) {
	e := newRotateEnv(t)
	_, err := e.catalog.RotateSecret(t.Context(), e.build.Repository)
	must.Succeed(t, err)
	before := e.stored(t)
	_, err = e.catalog.RotateSecret(t.Context(), e.build.Repository)
	var recently *catalog.RotatedRecently
	if !errors.As(err, &recently) {
		t.Fatalf("rotate secret: got %v, want *RotatedRecently", err)
	}
	if !recently.Until.Equal(before.PreviousUntil) {
		t.Errorf("time of the next rotation: got %s, want %s", recently.Until, before.PreviousUntil)
	}
	if got := e.stored(t); !got.Secret.Equal(before.Secret) {
		t.Error("secret: got a new one, want the old one")
	}
	e.pass(day)
	if _, err := e.catalog.RotateSecret(t.Context(), e.build.Repository); err != nil {
		t.Errorf("after 24 hours: got error %v, want none", err)
	}
}

// While Bitbucket is unavailable, the new secret is pending. Each of these calls writes it.
func TestI2APendingSecretIsWrittenLater(t *testing.T) {
	for name, again := range map[string]func(*rotateEnv) error{
		"hook check":    func(e *rotateEnv) error { return e.catalog.CheckHook(t.Context(), e.build.Repository) },
		"start":         func(e *rotateEnv) error { return e.catalog.Tidy(t.Context()) },
		"next rotation": func(e *rotateEnv) error { return resume(t, e) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newRotateEnv(t)
			outage := e.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/hooks", Fault: faults.Status(400, "")})
			rotation, err := e.catalog.RotateSecret(t.Context(), e.build.Repository)
			must.Succeed(t, err)
			outage.Stop()
			if rotation.Refusal == nil {
				t.Error("refusal: got none, want Bitbucket's")
			}
			if !rotation.Hook.SecretPending() {
				t.Error("pending secret: got none, want one")
			}
			if err := e.deliver(t); err != nil {
				t.Errorf("a delivery with the old secret: got error %v, want none", err)
			}
			must.Succeed(t, again(e))
			got := e.stored(t)
			if got.SecretPending() {
				t.Error("pending secret: got one, want none")
			}
			if !got.Secret.Equal(rotation.Hook.Secret) {
				t.Error("secret: got a second new one, want the first")
			}
			e.pass(day)
			if err := e.deliver(t); err != nil {
				t.Errorf("a delivery after 24 hours: got error %v, want none", err)
			}
		})
	}
}

func resume(t *testing.T, e *rotateEnv) error {
	t.Helper()
	rotation, err := e.catalog.RotateSecret(t.Context(), e.build.Repository)
	if err == nil && !rotation.Resumed {
		t.Error("secret: got a new one, want the pending one")
	}
	return err
}

// A webhook that was added by hand keeps working for 24 hours, until its new secret is pasted.
func TestI2AWebhookAddedByHandIsRotatedByHand(t *testing.T) {
	e := newRotateEnv(t)
	e.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/hooks**", Fault: faults.Status(403, "")})
	must.Succeed(t, e.catalog.CheckHook(t.Context(), e.build.Repository))
	hook := e.stored(t)
	if hook.State != autobuild.HookPolled {
		t.Fatalf("state: got %s, want %s", hook.State, autobuild.HookPolled)
	}
	rotation, err := e.catalog.RotateSecret(t.Context(), e.build.Repository)
	must.Succeed(t, err)
	if rotation.Refusal != nil {
		t.Errorf("refusal: got %v, want none", rotation.Refusal)
	}
	if err := e.deliver(t); err != nil {
		t.Errorf("a delivery with the old secret: got error %v, want none", err)
	}
	body := []byte(`{}`)
	pasted := http.Header{
		"X-Event-Key":           {"repo:push"},
		webhook.SignatureHeader: {webhook.Sign(body, rotation.Hook.Secret)},
	}
	if err := e.intake.Receive(t.Context(), e.hook.ID, pasted, body); err != nil {
		t.Errorf("a delivery with the new secret: got error %v, want none", err)
	}
}

// A webhook that the account may no longer change keeps the old secret, and the repository is polled.
func TestI2ARefusedSecretIsReportedAndPolled(t *testing.T) {
	e := newRotateEnv(t)
	e.faults.Add(faults.Rule{Path: "/2.0/repositories/*/*/hooks", Fault: faults.Status(403, "")})
	rotation, err := e.catalog.RotateSecret(t.Context(), e.build.Repository)
	must.Succeed(t, err)
	if !errors.Is(rotation.Refusal, autobuild.ErrForbidden) {
		t.Errorf("refusal: got %v, want ErrForbidden", rotation.Refusal)
	}
	if rotation.Hook.State != autobuild.HookPolled {
		t.Errorf("state: got %s, want %s", rotation.Hook.State, autobuild.HookPolled)
	}
	if err := e.deliver(t); err != nil {
		t.Errorf("a delivery with the old secret: got error %v, want none", err)
	}
}

func TestRotateSecretWithoutAWebhook(t *testing.T) {
	e := newRotateEnv(t)
	_, err := e.catalog.RotateSecret(
		t.Context(),
		autobuild.Repository{ProviderID: e.build.Repository.ProviderID, ID: "{none}"},
	)
	if !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("rotate secret: got %v, want ErrNotFound", err)
	}
}

// Two processes that check and rotate at the same time leave Bitbucket with the stored secret.
func TestI2RotationBesideHookChecks(t *testing.T) {
	e := newRotateEnv(t)
	other := e.beside(t, nil)
	for range 5 {
		e.app.DisableHooks() // so that the check writes the secret
		var both sync.WaitGroup
		both.Go(func() {
			if err := e.catalog.CheckHook(t.Context(), e.build.Repository); err != nil {
				t.Errorf("check: got error %v, want none", err)
			}
		})
		both.Go(func() {
			if _, err := other.RotateSecret(t.Context(), e.build.Repository); err != nil {
				t.Errorf("rotate: got error %v, want none", err)
			}
		})
		both.Wait()
		e.pass(day)
		if err := e.deliver(t); err != nil {
			t.Fatalf("a delivery after 24 hours: got error %v, want none", err)
		}
	}
}
