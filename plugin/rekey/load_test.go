package rekey_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/intake"
	"slipway/plugin/store"
)

// A load is the work of gateways during a change of the key. No part of it may fail.
type load struct {
	t       *testing.T
	stop    context.CancelFunc
	working sync.WaitGroup

	deliveries, rotations, logins atomic.Int64
}

// startLoad starts deliveries, replacements of webhook secrets and sign-ins at all gateways.
func startLoad(t *testing.T, e *env) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{t: t, stop: stop}
	secrets := &sync.Map{} // of webhooks, by id
	for _, h := range e.hooks {
		secrets.Store(h.ID, h.Secret)
	}
	for n, s := range e.gateways {
		in := intake.New(intake.Options{Store: s, Log: discard.Logger()})
		l.repeat(ctx, &l.deliveries, func(i int) error {
			return deliver(ctx, in, e.hooks[i%len(e.hooks)].ID, secrets)
		})
		l.repeat(ctx, &l.logins, func(i int) error { return signIn(ctx, s, fmt.Sprintf("login-%d-%d", n, i)) })
	}
	l.repeat(ctx, &l.rotations, func(i int) error {
		return replaceSecret(ctx, e.gateways[i%len(e.gateways)], e.hooks[i%len(e.hooks)].ID, secrets)
	})
	return l
}

// repeat calls f until the load is stopped.
func (l *load) repeat(ctx context.Context, done *atomic.Int64, f func(i int) error) {
	l.working.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := f(i)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				l.t.Errorf("request %d during the change of the key: got error %v, want none", i, err)
				return
			}
			done.Add(1)
		}
	})
}

// end stops the load. It expects that each part of it did some work.
func (l *load) end() {
	l.t.Helper()
	l.stop()
	l.working.Wait()
	for name, n := range map[string]*atomic.Int64{
		"deliveries": &l.deliveries, "rotations": &l.rotations, "logins": &l.logins,
	} {
		if n.Load() == 0 {
			l.t.Errorf("%s: got none, want some", name)
		}
		l.t.Logf("%s: %d, none failed", name, n.Load())
	}
}

// deliver sends a delivery that is signed with the secret that Bitbucket has.
func deliver(ctx context.Context, in *intake.Intake, hookID string, secrets *sync.Map) error {
	value, _ := secrets.Load(hookID)
	known, ok := value.(secret.Secret)
	if !ok {
		return fmt.Errorf("webhook %s has no secret", hookID)
	}
	body := []byte(`{}`)
	header := http.Header{}
	header.Set("X-Event-Key", "repo:push")
	header.Set(webhook.SignatureHeader, webhook.Sign(body, known))
	return in.Receive(ctx, hookID, header, body)
}

// replaceSecret replaces the secret of a webhook. Bitbucket has the new one afterwards.
func replaceSecret(ctx context.Context, s *store.Store, hookID string, secrets *sync.Map) error {
	h, err := s.Hook(ctx, hookID)
	if err != nil {
		return err
	}
	next := secret.New(canary + rand.Text())
	if _, err := s.ReplaceHookSecret(ctx, h, next, time.Now().Add(time.Hour)); err != nil {
		return err
	}
	secrets.Store(hookID, next)
	return s.ConfirmHookSecret(ctx, hookID, h.SecretVersion+1)
}

// signIn signs a person in, refreshes the grant of the session and signs out.
func signIn(ctx context.Context, s *store.Store, name string) error {
	later := time.Now().Add(time.Hour)
	verifier := secret.New(canary + rand.Text())
	err := s.SaveOAuthFlow(ctx, autobuild.OAuthFlow{State: name, CodeVerifier: verifier, ExpiresAt: later})
	if err != nil {
		return err
	}
	flow, err := s.TakeOAuthFlow(ctx, name)
	if err != nil {
		return err
	}
	users, err := s.Users(ctx)
	if err != nil {
		return err
	}
	token, next := secret.New(canary+rand.Text()), secret.New(canary+rand.Text())
	se := autobuild.Session{ID: name, UserID: users[0].ID, ExpiresAt: later, Grant: autobuild.Grant{AccessToken: token}}
	if err := s.CreateSession(ctx, se); err != nil {
		return err
	}
	stored, err := s.Session(ctx, name)
	if err != nil {
		return err
	}
	if _, err := s.UpdateGrant(
		ctx,
		name,
		autobuild.Grant{AccessToken: next, Version: stored.Grant.Version},
	); err != nil {
		return err
	}
	refreshed, err := s.Session(ctx, name)
	if err != nil {
		return err
	}
	if !flow.CodeVerifier.Equal(verifier) || !stored.Grant.AccessToken.Equal(token) ||
		!refreshed.Grant.AccessToken.Equal(next) {
		return errors.New("a secret was read that is not the stored one")
	}
	return s.DeleteSession(ctx, name)
}
