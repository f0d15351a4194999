package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// A Request is what a CI says of the pipeline that it asks about, its signature verified.
type Request struct {
	Params     map[string]string
	Repository string // owner/name on the CI
	Number     int64  // 0 before the CI has given it one
	Event      string // what started it
	Sender     string // who started it
}

// A Desk answers a CI's requests. It is safe for concurrent use.
type Desk struct {
	handovers Handovers
	identity  Identity
	probes    Probes
	event     string // of pipelines that are started by API

	mu    sync.Mutex
	login string // of our user, once it is known
}

// NewDesk returns a Desk; event is what the CI calls pipelines that are started by its API.
func NewDesk(h Handovers, i Identity, p Probes, event string) *Desk {
	return &Desk{handovers: h, identity: i, probes: p, event: event}
}

// Attempt says for which attempt a pipeline is ours, also when that is over: a pipeline that
// came too late is to run ours and be told so, not the repository's own with our parameters.
// ErrNotFound = it is none of ours; ErrForbidden = it claims to be and is not, which costs it
// nothing but our YAML. A probe has an attempt that is in no store.
func (d *Desk) Attempt(ctx context.Context, r Request) (autobuild.Attempt, error) {
	p, ok := ReadParams(r.Params)
	if !ok {
		return autobuild.Attempt{}, fmt.Errorf("a pipeline of %s without our parameters: %w", r.Repository, autobuild.ErrNotFound)
	}
	if err := d.isOurs(ctx, r); err != nil {
		return autobuild.Attempt{}, err
	}
	if p.BuildID == probeID {
		return d.probe(r, p)
	}
	a, err := d.handovers.AttemptByNonce(ctx, p.nonceHash())
	if errors.Is(err, autobuild.ErrNotFound) {
		return autobuild.Attempt{}, fmt.Errorf("a pipeline of %s with a nonce that was not given out: %w", r.Repository, autobuild.ErrForbidden)
	}
	if err != nil {
		return autobuild.Attempt{}, err
	}
	if repository, _ := split(a.EngineRef); !p.Of(a.BuildID, a.Number) || repository != r.Repository {
		return autobuild.Attempt{}, fmt.Errorf("a pipeline of %s with parameters of another one: %w", r.Repository, autobuild.ErrForbidden)
	}
	return a, nil
}

// probe is Attempt for a probe.
func (d *Desk) probe(r Request, p Params) (autobuild.Attempt, error) {
	if !p.Of(probeID, 1) || !d.probes.has(p.Nonce, r.Repository) {
		return autobuild.Attempt{}, fmt.Errorf("a pipeline of %s as a probe that was not asked for, or more than %s ago: %w", r.Repository, probeAge, autobuild.ErrForbidden)
	}
	return autobuild.Attempt{BuildID: probeID, Number: 1, EngineRef: r.Repository}, nil
}

// Token makes the runner's token for the pipeline that has the attempt, or is the first to
// ask. ErrConflict for any other one, and once the runner came; ErrFenced when the attempt is
// over; otherwise as Attempt.
func (d *Desk) Token(ctx context.Context, r Request) (secret.Secret, error) {
	if r.Number <= 0 {
		return secret.Secret{}, fmt.Errorf("a pipeline of %s that has no number: %w", r.Repository, autobuild.ErrForbidden)
	}
	if _, err := d.Attempt(ctx, r); err != nil {
		return secret.Secret{}, err
	}
	p, _ := ReadParams(r.Params)
	if p.BuildID == probeID {
		return d.probes.token(p.Nonce, name(r.Repository, r.Number)), nil
	}
	token := autobuild.NewToken()
	if err := d.handovers.HandOver(ctx, p.nonceHash(), name(r.Repository, r.Number), autobuild.TokenHash(token)); err != nil {
		return secret.Secret{}, err
	}
	return token, nil
}

// isOurs refuses what others started with our parameters copied.
func (d *Desk) isOurs(ctx context.Context, r Request) error {
	login, err := d.us(ctx)
	if err != nil {
		return fmt.Errorf("find out who we are on the CI: %w", err)
	}
	if r.Event != d.event || r.Sender != login {
		return fmt.Errorf("a pipeline of %s with our parameters was started by %q through %q: %w", r.Repository, r.Sender, r.Event, autobuild.ErrForbidden)
	}
	return nil
}

func (d *Desk) us(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.login == "" {
		login, err := d.identity.Login(ctx)
		if err != nil {
			return "", err
		}
		d.login = login
	}
	return d.login, nil
}
