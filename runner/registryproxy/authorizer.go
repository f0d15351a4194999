package registryproxy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// loginMargin is the time before its expiry at which a credential is renewed. A token is renewed at
	// most that early.
	loginMargin = time.Minute
	// refusalPause is the time for which a refusal of the token server is cached. So a client that
	// repeats its request does not make the proxy repeat its own.
	refusalPause = 30 * time.Second
	// authTimeout bounds the requests for one authorization.
	authTimeout = 30 * time.Second
)

// An authorizer authorizes requests to the registry before they are sent: a body that is streamed
// cannot be sent again after a 401. It is safe for concurrent use.
type authorizer struct {
	base    *url.URL
	login   func(ctx context.Context) (Login, error)
	http    http.RoundTripper
	now     func() time.Time
	pending chan struct{} // a lock with a context; it guards the fields below

	challenge *challenge       // nil = not known yet
	current   *Login           // nil = not known yet
	loggedIn  time.Time        // time at which current was obtained
	tokens    map[string]token // tokens by their scopes
}

func newAuthorizer(o Options, rt http.RoundTripper) *authorizer {
	return &authorizer{
		base:    o.Upstream,
		login:   o.Login,
		http:    rt,
		now:     o.Now,
		pending: make(chan struct{}, 1),
		tokens:  map[string]token{},
	}
}

// header returns the Authorization header for the scopes; empty = none is needed. It renews the
// credential and the token before they end.
func (a *authorizer) header(ctx context.Context, scopes []string) (string, error) {
	if err := a.lock(ctx); err != nil {
		return "", err
	}
	defer a.unlock()
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	if a.challenge == nil {
		asked, err := a.ask(ctx)
		if err != nil {
			return "", err
		}
		a.challenge = &asked
	}
	if !a.challenge.basic && a.challenge.realm == nil {
		return "", nil
	}
	if err := a.renewLogin(ctx); err != nil {
		return "", err
	}
	if a.challenge.basic {
		return basic(*a.current), nil
	}
	return a.bearer(ctx, scopes)
}

// forget drops the credential or token in a header that the registry refused before its expiry. It
// reports whether the method header may return a better one. It reports false if the dropped one was new,
// because the registry then refuses new ones as well. For a request without a header, challenges are the
// refusal's WWW-Authenticate headers.
func (a *authorizer) forget(ctx context.Context, header string, challenges []string) (bool, error) {
	if err := a.lock(ctx); err != nil {
		return false, err
	}
	defer a.unlock()
	recently := a.now().Add(-refusalPause)
	if header == "" {
		asked, err := parseChallenge(challenges, a.base.Scheme == "http")
		if err != nil {
			return false, err
		}
		a.challenge = &asked
		return true, nil
	}
	if a.current != nil && basic(*a.current) == header {
		if a.loggedIn.After(recently) {
			return false, nil
		}
		a.current, a.challenge = nil, nil
		return true, nil
	}
	for scopes, t := range a.tokens {
		if t.header != header {
			continue
		}
		if t.obtained.After(recently) {
			return false, nil
		}
		delete(a.tokens, scopes)
		a.challenge = nil
	}
	return true, nil // the result is the same if another request has dropped it
}

func (a *authorizer) lock(ctx context.Context) error {
	select {
	case a.pending <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *authorizer) unlock() { <-a.pending }

// ask returns the registry's authentication challenge.
func (a *authorizer) ask(ctx context.Context) (challenge, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base.String()+"/v2/", nil)
	if err != nil {
		return challenge{}, err
	}
	request.Header.Set("User-Agent", userAgent)
	resp, err := a.http.RoundTrip(request)
	if err != nil {
		return challenge{}, fmt.Errorf("get the authentication challenge of %s: %w", a.base.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
		return challenge{}, nil
	case http.StatusUnauthorized:
		return parseChallenge(resp.Header.Values("WWW-Authenticate"), a.base.Scheme == "http")
	}
	return challenge{}, fmt.Errorf(
		"get the authentication challenge of %s: got %s, want 200 or 401",
		a.base.Host,
		resp.Status,
	)
}

// renewLogin gets the credential if there is none, or if it ends soon. A new credential invalidates the
// tokens of the old one.
func (a *authorizer) renewLogin(ctx context.Context) error {
	if a.current != nil && (a.current.ExpiresAt.IsZero() || a.now().Add(loginMargin).Before(a.current.ExpiresAt)) {
		return nil
	}
	login, err := a.login(ctx)
	if err != nil {
		return fmt.Errorf("get the credential for %s: %w", a.base.Host, err)
	}
	if strings.Contains(login.Username, ":") {
		return fmt.Errorf("get the credential for %s: the user name contains a colon", a.base.Host)
	}
	a.current, a.loggedIn = &login, a.now()
	clear(a.tokens)
	return nil
}

// basic returns the Authorization header for Basic; empty for an anonymous login.
func basic(l Login) string {
	if l.Username == "" && l.Password.IsZero() {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.Username+":"+l.Password.Reveal()))
}

// bearer returns the Authorization header with a token for the scopes.
func (a *authorizer) bearer(ctx context.Context, scopes []string) (string, error) {
	key := strings.Join(scopes, " ")
	if t, ok := a.tokens[key]; ok && a.now().Before(t.renewAt) {
		return t.header, t.err
	}
	t, err := a.fetch(ctx, scopes)
	if errors.As(err, new(problem)) {
		t, err = token{err: err, renewAt: a.now().Add(refusalPause)}, nil
	}
	if err != nil {
		return "", fmt.Errorf("get the token for %s: %w", a.base.Host, err)
	}
	a.tokens[key] = t
	return t.header, t.err
}
