package drone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

const (
	// answerTime bounds a call; createTime one that starts a build: Drone takes 45 s where it
	// finds no configuration, and waits for its extensions and webhooks besides.
	answerTime = 10 * time.Second
	createTime = 120 * time.Second
	maxAnswer  = 8 << 20 // bytes; a list of builds is the largest
	maxWords   = 300     // bytes of an error's text that are repeated
)

// A client is drone-go's, with what that lacks: a context and a time for each call, bounded
// answers, and errors with a kind. It is safe for concurrent use.
type client struct {
	server string // origin
	token  secret.Secret
	base   http.RoundTripper
}

// A carrier carries the requests of one call. drone-go tells a status in a text alone, and
// asks without a context.
type carrier struct {
	*client
	ctx    context.Context //nolint:containedctx // of the one call that it is made for
	status int
	date   string // by the server's clock
}

// RoundTrip sends a request with the token and the call's context.
func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(c.ctx)
	r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	resp, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.status, c.date = resp.StatusCode, resp.Header.Get("Date")
	resp.Body = bounded{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// bounded is a body that ends early rather than never.
type bounded struct {
	io.Reader
	io.Closer
}

// call makes one call of drone-go's.
func (c *client) call(ctx context.Context, limit time.Duration, do func(drone.Client) error) error {
	_, err := c.carry(ctx, limit, do)
	return err
}

func (c *client) carry(ctx context.Context, limit time.Duration, do func(drone.Client) error) (*carrier, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	carried := &carrier{client: c, ctx: ctx}
	err := do(drone.NewClient(c.server, &http.Client{
		Transport: carried, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	return carried, c.kind(carried.status, err)
}

// kind says what an error of drone-go's means. The status is the last answer's; 0 = none came.
func (c *client) kind(status int, err error) error {
	switch {
	case err == nil:
		return nil
	case status == 0:
		return fmt.Errorf("Drone at %s does not answer: %w (%w)", c.server, withoutURL(err), autobuild.ErrUnavailable)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("Drone does not accept the token: copy it from the user's page there and set SLIPWAY_DRONE_TOKEN: %w", autobuild.ErrUnauthorized)
	case status == http.StatusPaymentRequired:
		return fmt.Errorf("Drone says that its licence is used up (%s): %w", words(err), autobuild.ErrForbidden)
	case status == http.StatusForbidden:
		return fmt.Errorf("Drone does not let our user do this: make it an administrator there or give it write access at Bitbucket: %w", autobuild.ErrForbidden)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", words(err), autobuild.ErrNotFound)
	case status >= http.StatusInternalServerError:
		return fmt.Errorf("Drone answered %d (%s): %w", status, words(err), autobuild.ErrUnavailable)
	case status >= http.StatusMultipleChoices:
		return fmt.Errorf("Drone answered %d (%s)", status, words(err))
	}
	return fmt.Errorf("understand Drone's answer: %w (%w)", err, autobuild.ErrUnavailable)
}

// words is the text of an error, for people.
func words(err error) string {
	text := strings.TrimSpace(strings.ToValidUTF8(err.Error(), "?"))
	return strings.TrimPrefix(text[:min(len(text), maxWords)], "client error ")
}

// withoutURL is a transport's error without the address, which the sentence has.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
