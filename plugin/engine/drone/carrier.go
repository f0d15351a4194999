package drone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
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
	// activating has one place, for who activates a repository.
	activating chan struct{}
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
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
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

// get reads what drone-go has no call for. The carrier is there with an error too.
func (c *client) get(ctx context.Context, path string, out any) (*carrier, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	carried := &carrier{client: c, ctx: ctx}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return carried, c.kind(0, err)
	}
	resp, err := carried.RoundTrip(req)
	if err != nil {
		return carried, c.kind(0, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err = errors.New(http.StatusText(resp.StatusCode))
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	return carried, c.kind(resp.StatusCode, err)
}

// errDenied marks what our user may not do in one repository, and elsewhere perhaps may.
var errDenied = errors.New("give it write access and administration at Bitbucket, then press Sync on Drone, or make it an administrator of Drone")

// kind says what an error of drone-go's means. The status is the last answer's; 0 = none came.
func (c *client) kind(status int, err error) error {
	var long *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &long):
		return fmt.Errorf("the answer of Drone is longer than %d bytes: %w", long.Limit, autobuild.ErrUnavailable)
	case status == 0:
		return fmt.Errorf("no answer from Drone at %s: %w (%w)", c.server, pipeline.WithoutURL(err), autobuild.ErrUnavailable)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("the Drone server does not accept the token: copy it from the user's page there and set SLIPWAY_DRONE_TOKEN: %w", autobuild.ErrUnauthorized)
	case status == http.StatusPaymentRequired:
		return fmt.Errorf("the Drone server says that its licence is used up (%s): %w", words(err), autobuild.ErrForbidden)
	case status == http.StatusForbidden:
		return fmt.Errorf("the Drone server does not let our user do this: %w: %w", errDenied, autobuild.ErrForbidden)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", words(err), autobuild.ErrNotFound)
	case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests:
		return fmt.Errorf("the Drone server answered %d (%s): %w", status, words(err), autobuild.ErrUnavailable)
	case status >= http.StatusBadRequest:
		return fmt.Errorf("the Drone server answered %d (%s)", status, words(err))
	case status >= http.StatusMultipleChoices:
		return fmt.Errorf("%s answers with a redirect (%d), and the token is sent to no other address: set SLIPWAY_DRONE_SERVER to where it leads, or let the gateway past the login before it: %w", c.server, status, autobuild.ErrForbidden)
	}
	return fmt.Errorf("%s does not answer as Drone does, check SLIPWAY_DRONE_SERVER: %w (%w)", c.server, err, autobuild.ErrUnavailable)
}

// words is the text of an error, for people: Drone's message where there is one.
func words(err error) string {
	text := err.Error()
	if _, body, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(text, "client error ") {
		text = body
	}
	var told struct {
		Message string `json:"message"`
	}
	if json.Unmarshal([]byte(text), &told) == nil && told.Message != "" {
		text = told.Message
	}
	text = text[:min(len(text), maxWords)]
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
}
