package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// A Request identifies the pipeline that a CI asks about. The caller has verified its signature.
type Request struct {
	Params     map[string]string
	Repository string // owner/name on the CI
	Number     int64  // 0 if the CI has not assigned a number yet
	Event      string // the CI's name for the trigger, e.g. "custom"
	Sender     string // login of the user who started the pipeline
}

// A TokenIssuer serves the config and secret requests of one CI. It decides if a pipeline belongs
// to an attempt, and creates the runner's token. It is safe for concurrent use.
type TokenIssuer struct {
	handovers Handovers
	identity  Identity
	probes    Probes
	event     string // the CI's event name for pipelines started by API
	now       func() time.Time

	mu        sync.Mutex
	login     string // login of the configured token's user; empty until the first request
	requested time.Time
}

// loginInterval is the minimum time between two requests for the login, if pipelines of other users
// have our parameters.
const loginInterval = 10 * time.Second

// NewTokenIssuer returns a TokenIssuer. event is the CI's event name for pipelines that are started
// by its API. now is the clock.
func NewTokenIssuer(h Handovers, id Identity, p Probes, event string, now func() time.Time) *TokenIssuer {
	return &TokenIssuer{handovers: h, identity: id, probes: p, event: event, now: now}
}

// Attempt returns the attempt that a pipeline was started for, also if the attempt is finished: a
// late pipeline runs our YAML and its step reports the end. Otherwise the CI would run the
// repository's own YAML with our parameters. For a probe it returns an attempt that is not in the
// store.
//
// It returns ErrNotFound if the pipeline does not have our parameters. It returns ErrForbidden if
// the parameters are ours but the pipeline is not; such a pipeline only loses our YAML. Other
// errors are those of Identity and Handovers.
func (i *TokenIssuer) Attempt(ctx context.Context, r Request) (autobuild.Attempt, error) {
	p, ok := ReadParams(r.Params)
	if !ok {
		return autobuild.Attempt{}, fmt.Errorf(
			"a pipeline of %s without our parameters: %w", r.Repository, autobuild.ErrNotFound,
		)
	}
	if err := i.checkOrigin(ctx, r); err != nil {
		return autobuild.Attempt{}, err
	}
	if p.BuildID == probeID {
		return i.probe(r, p)
	}
	a, err := i.handovers.AttemptByNonce(ctx, p.nonceHash())
	if errors.Is(err, autobuild.ErrNotFound) {
		return autobuild.Attempt{}, fmt.Errorf(
			"a pipeline of %s with an unknown nonce: %w", r.Repository, autobuild.ErrForbidden,
		)
	}
	if err != nil {
		return autobuild.Attempt{}, err
	}
	if repository, _ := split(a.EngineRef); !p.Of(a.BuildID, a.Number) || repository != r.Repository {
		return autobuild.Attempt{}, fmt.Errorf(
			"a pipeline of %s with the parameters of another pipeline: %w", r.Repository, autobuild.ErrForbidden,
		)
	}
	return a, nil
}

// probe implements Attempt for a probe.
func (i *TokenIssuer) probe(r Request, p Params) (autobuild.Attempt, error) {
	if !p.Of(probeID, 1) || !i.probes.has(p.Nonce, r.Repository) {
		return autobuild.Attempt{}, fmt.Errorf(
			"a pipeline of %s with a probe that is unknown or older than %s: %w",
			r.Repository, probeAge, autobuild.ErrForbidden,
		)
	}
	return autobuild.Attempt{BuildID: probeID, Number: 1, EngineRef: r.Repository}, nil
}

// Token returns a new runner token for a pipeline. The first pipeline that asks is bound to the
// attempt; each later request of that pipeline replaces the token.
//
// It returns ErrConflict for any other pipeline, and after a runner has claimed the attempt. It
// returns ErrFenced if the attempt is finished. Other errors are those of Attempt.
func (i *TokenIssuer) Token(ctx context.Context, r Request) (secret.Secret, error) {
	if r.Number <= 0 {
		return secret.Secret{}, fmt.Errorf(
			"a pipeline of %s without a number: %w", r.Repository, autobuild.ErrForbidden,
		)
	}
	if _, err := i.Attempt(ctx, r); err != nil {
		return secret.Secret{}, err
	}
	p, _ := ReadParams(r.Params)
	if p.BuildID == probeID {
		return i.probes.token(p.Nonce, name(r.Repository, r.Number)), nil
	}
	token := autobuild.NewToken()
	err := i.handovers.HandOver(ctx, p.nonceHash(), name(r.Repository, r.Number), autobuild.TokenHash(token))
	if err != nil {
		return secret.Secret{}, err
	}
	return token, nil
}

// checkOrigin returns ErrForbidden if another user, or another event, started a pipeline with a
// copy of our parameters.
func (i *TokenIssuer) checkOrigin(ctx context.Context, r Request) error {
	login, err := i.clientLogin(ctx, r.Sender)
	if err != nil {
		return fmt.Errorf("get our user on the CI: %w", err)
	}
	if r.Event != i.event || r.Sender != login {
		return fmt.Errorf(
			"a pipeline of %s with our parameters was started by %q through %q: %w",
			r.Repository, r.Sender, r.Event, autobuild.ErrForbidden,
		)
	}
	return nil
}

// clientLogin returns the login of the configured token's user. It requests the login again if sender
// has another one, because the user may have been renamed on the CI.
func (i *TokenIssuer) clientLogin(ctx context.Context, sender string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.login != "" && (i.login == sender || i.now().Sub(i.requested) < loginInterval) {
		return i.login, nil
	}
	login, err := i.identity.Login(ctx)
	if err != nil {
		return "", err
	}
	i.login, i.requested = login, i.now()
	return i.login, nil
}
