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

// retryAfter is how long a client that found no place is asked to stay away.
const retryAfter = 5 * time.Second

// maxUnknown is how many looks at an attempt may fail in a row before its requests end: what the
// store cannot confirm for that long is not served.
const maxUnknown = 30

// A key is an attempt as its token names it.
type key struct{ build, tokenHash string }

// A session is what the proxy keeps of an attempt: while it has requests, or LFS objects that were
// handed out and not fetched yet. Its context ends with the attempt.
type session struct {
	key key
	ctx context.Context //nolint:containedctx // it is the attempt's, which outlives each request
	end context.CancelCauseFunc

	// Guarded by Proxy.mu.
	requests int
	objects  map[string]object
	order    []string // of objects, oldest first
}

// enter authorizes a request and joins it to its attempt's session. Every call is followed by
// leave, unless it returns an error.
func (p *Proxy) enter(r *http.Request, build string) (autobuild.Attempt, *session, error) {
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
		return autobuild.Attempt{}, nil, busy("the gateway cannot look the attempt up at the moment", retryAfter, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[k]
	if s == nil || s.ctx.Err() != nil {
		s = &session{key: k, objects: map[string]object{}}
		s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(r.Context()))
		p.sessions[k] = s
		go p.watch(s)
	}
	if s.requests == maxPerAttempt {
		message := fmt.Sprintf("more than %d requests of one attempt at once", maxPerAttempt)
		return autobuild.Attempt{}, nil, busy(message, retryAfter, nil)
	}
	s.requests++
	return attempt, s, nil
}

// leave forgets the session of the last request, unless LFS objects wait to be fetched.
func (p *Proxy) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.requests--
	p.forgetIdle(s)
}

// forgetIdle ends a session that has nothing left. p.mu is held.
func (p *Proxy) forgetIdle(s *session) {
	over := s.ctx.Err() != nil
	if s.requests > 0 || len(s.objects) > 0 && !over {
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

// watch looks at the attempt until its session ends. The store is asked, for another gateway may
// have ended the attempt.
func (p *Proxy) watch(s *session) {
	ticker := time.NewTicker(p.o.Check)
	defer ticker.Stop()
	for unknown := 0; ; {
		select {
		case <-s.ctx.Done():
			p.mu.Lock()
			p.forgetIdle(s)
			p.mu.Unlock()
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
		_, err := p.o.Store.AttemptByToken(ctx, s.key.build, s.key.tokenHash)
		cancel()
		switch {
		case err == nil:
			unknown = 0
		case errors.Is(err, autobuild.ErrFenced), errors.Is(err, autobuild.ErrUnauthorized):
			s.end(errEnded)
		default:
			if unknown++; unknown == maxUnknown {
				p.o.Log.WithError(err).
					WithField("build", s.key.build).
					Warn("git transfers ended: the attempt cannot be looked up")
				s.end(fmt.Errorf("look the attempt up: %w", err))
			}
		}
	}
}

// takePlace takes one of the places for transfers, and waits for it in a bounded queue.
func (p *Proxy) takePlace(ctx context.Context) error {
	select {
	case p.places <- struct{}{}:
		return nil
	default:
	}
	const full = "too many git transfers at once"
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		return busy(full, retryAfter, nil)
	}
	timer := time.NewTimer(p.o.Wait)
	defer timer.Stop()
	select {
	case p.places <- struct{}{}:
		return nil
	case <-timer.C:
		return busy(full, retryAfter, nil)
	case <-ctx.Done():
		return p.explain(ctx, context.Cause(ctx))
	}
}
