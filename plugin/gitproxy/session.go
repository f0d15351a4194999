package gitproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// retryAfter is the time after which a client should retry if no slot was free.
const retryAfter = 5 * time.Second

// maxCheckFailures is the number of consecutive failed checks of an attempt after which its requests end.
const maxCheckFailures = 30

// A key identifies an attempt by its token.
type key struct{ build, tokenHash string }

// A session holds the state of an attempt while it has requests, or LFS objects that were offered and not
// fetched yet. Its context ends with the attempt.
type session struct {
	key key
	ctx context.Context //nolint:containedctx // of the attempt, which outlives each request
	end context.CancelCauseFunc

	// Guarded by Proxy.mu.
	requests int
	objects  map[string]object
	order    []string // of objects, oldest first
}

// beginRequest authorizes a request and adds it to the session of its attempt. Call endRequest afterwards,
// unless beginRequest returned an error.
func (p *Proxy) beginRequest(r *http.Request, build string) (autobuild.Attempt, *session, error) {
	values := r.Header.Values("Authorization")
	token, bearer := "", false
	if len(values) == 1 {
		token, bearer = strings.CutPrefix(values[0], "Bearer ")
	}
	if !bearer || token == "" {
		return autobuild.Attempt{}, nil, refuse(http.StatusForbidden, needsToken, autobuild.ErrUnauthorized)
	}
	k := key{build: build, tokenHash: autobuild.TokenHash(secret.New(token))}
	attempt, err := p.o.Store.AttemptByToken(r.Context(), k.build, k.tokenHash)
	switch {
	case errors.Is(err, autobuild.ErrUnauthorized):
		return autobuild.Attempt{}, nil, refuse(http.StatusForbidden, needsToken, err)
	case errors.Is(err, autobuild.ErrFenced):
		return autobuild.Attempt{}, nil, refuse(http.StatusForbidden, errEnded.Error(), err)
	case err != nil:
		return autobuild.Attempt{}, nil, retryLater(
			"the gateway cannot load the attempt at the moment",
			retryAfter,
			err,
		)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[k]
	if s == nil || s.ctx.Err() != nil {
		s = &session{key: k, objects: map[string]object{}}
		s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(r.Context()))
		p.sessions[k] = s
		go p.watchAttempt(s)
	}
	if s.requests == maxPerAttempt {
		message := fmt.Sprintf("more than %d requests of one attempt at once", maxPerAttempt)
		return autobuild.Attempt{}, nil, retryLater(message, retryAfter, nil)
	}
	s.requests++
	return attempt, s, nil
}

// endRequest removes a request from its session, and the session if it has neither requests nor LFS
// objects left.
func (p *Proxy) endRequest(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.requests--
	p.removeIdle(s)
}

// removeIdle ends and removes a session without requests and LFS objects. The caller holds p.mu.
func (p *Proxy) removeIdle(s *session) {
	ended := s.ctx.Err() != nil
	if s.requests > 0 || len(s.objects) > 0 && !ended {
		return
	}
	for id := range s.objects {
		p.drop(s, id)
	}
	if p.sessions[s.key] == s {
		delete(p.sessions, s.key)
	}
	s.end(nil)
}

// watchAttempt checks the attempt until its session ends. It reads the store, because another gateway may
// end the attempt.
func (p *Proxy) watchAttempt(s *session) {
	ticker := time.NewTicker(p.o.Check)
	defer ticker.Stop()
	for failures := 0; ; {
		select {
		case <-s.ctx.Done():
			p.mu.Lock()
			p.removeIdle(s)
			p.mu.Unlock()
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		_, err := p.o.Store.AttemptByToken(ctx, s.key.build, s.key.tokenHash)
		cancel()
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, autobuild.ErrFenced), errors.Is(err, autobuild.ErrUnauthorized):
			s.end(errEnded)
		default:
			if failures++; failures == maxCheckFailures {
				p.o.Log.WithError(err).
					WithField("build", s.key.build).
					Warn("git transfers ended: the attempt cannot be loaded")
				s.end(fmt.Errorf("load the attempt: %w", err))
			}
		}
	}
}

// acquireSlot takes one of the slots for transfers. It waits in a bounded queue.
func (p *Proxy) acquireSlot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	const full = "too many git transfers at once"
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		return retryLater(full, retryAfter, nil)
	}
	timer := time.NewTimer(p.o.Wait)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return retryLater(full, retryAfter, nil)
	case <-ctx.Done():
		return p.refusalFor(ctx, context.Cause(ctx))
	}
}
