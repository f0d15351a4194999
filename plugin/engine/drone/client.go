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
	// callTimeout bounds a call, and createTimeout a call that starts a build. Drone responds after
	// 45 s if it finds no configuration, and first waits for its extensions and webhooks.
	callTimeout   = 10 * time.Second
	createTimeout = 120 * time.Second
	maxResponse   = 8 << 20 // bytes; a list of builds is the largest response
	maxErrorText  = 300     // bytes of an error's text that messages repeat
)

// A client wraps drone-go. It adds a context and a timeout to each call, limits the size of
// responses, and maps errors to those of autobuild. It is safe for concurrent use.
type client struct {
	server       string // origin, e.g. https://drone.example.com
	token        secret.Secret
	base         http.RoundTripper
	builder      string        // builder repository; may be empty
	buildTimeout time.Duration // limit of a build; 0 = not known
	// activating is a lock that a context can interrupt: one call at a time activates a repository.
	activating chan struct{}
}

// A transport sends the requests of one call, and records the status and date of the last response.
// drone-go takes no context, and returns the status only as part of a text.
type transport struct {
	*client
	ctx    context.Context // a transport serves one call only
	status int
	date   string // header Date of the last response
}

// RoundTrip sends a request with the token and the call's context.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(t.ctx)
	r.Header.Set("Authorization", "Bearer "+t.token.Reveal())
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.status, t.date = resp.StatusCode, resp.Header.Get("Date")
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxResponse)
	return resp, nil
}

// call makes one call through drone-go. Errors are those of mapError.
func (c *client) call(ctx context.Context, limit time.Duration, do func(drone.Client) error) error {
	_, err := c.callRecorded(ctx, limit, do)
	return err
}

func (c *client) callRecorded(
	ctx context.Context,
	limit time.Duration,
	do func(drone.Client) error,
) (*transport, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := &transport{client: c, ctx: ctx}
	err := do(drone.NewClient(c.server, &http.Client{
		Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	return t, c.mapError(t.status, err)
}

// get requests a path that drone-go has no method for, and decodes the JSON response into out. The
// transport is valid also if err is not nil.
func (c *client) get(ctx context.Context, path string, out any) (*transport, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	t := &transport{client: c, ctx: ctx}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return t, c.mapError(0, err)
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return t, c.mapError(0, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err = errors.New(http.StatusText(resp.StatusCode))
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	return t, c.mapError(resp.StatusCode, err)
}

// errDenied marks an operation that the configured user may not do in one repository. The user may
// have the right in other repositories.
var errDenied = errors.New(
	"give it write access and administration at Bitbucket, then press Sync on Drone, or make it an " +
		"administrator of Drone",
)

// mapError wraps an error of drone-go in one of autobuild's, by the status of the last response.
// Status 0 means that there was no response.
func (c *client) mapError(status int, err error) error {
	var long *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &long):
		return fmt.Errorf("the response of Drone is longer than %d bytes: %w", long.Limit, autobuild.ErrUnavailable)
	case status == 0:
		return fmt.Errorf(
			"no response from Drone at %s: %w (%w)",
			c.server, pipeline.WithoutURL(err), autobuild.ErrUnavailable,
		)
	case status == http.StatusUnauthorized:
		return fmt.Errorf(
			"the Drone server does not accept the token: copy it from the user's page there and set "+
				"SLIPWAY_DRONE_TOKEN: %w",
			autobuild.ErrUnauthorized,
		)
	case status == http.StatusPaymentRequired:
		return fmt.Errorf(
			"the Drone server reports that its license is used up (%s): %w",
			errorText(err), autobuild.ErrForbidden,
		)
	case status == http.StatusForbidden:
		return fmt.Errorf(
			"the Drone server does not allow this for our user: %w: %w",
			errDenied,
			autobuild.ErrForbidden,
		)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", errorText(err), autobuild.ErrNotFound)
	case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests:
		return fmt.Errorf("the Drone server returned %d (%s): %w", status, errorText(err), autobuild.ErrUnavailable)
	case status >= http.StatusBadRequest:
		return fmt.Errorf("the Drone server returned %d (%s)", status, errorText(err))
	case status >= http.StatusMultipleChoices:
		return fmt.Errorf(
			"%s redirects (%d), and the token is not sent to other addresses: set "+
				"SLIPWAY_DRONE_SERVER to the final address, or exempt the gateway from the login page: %w",
			c.server, status, autobuild.ErrForbidden,
		)
	}
	return fmt.Errorf(
		"%s is not a Drone server: check SLIPWAY_DRONE_SERVER: %w (%w)",
		c.server, err, autobuild.ErrUnavailable,
	)
}

// errorText returns the text of an error in one line, or the message in Drone's JSON if there is
// one.
func errorText(err error) string {
	text := err.Error()
	if _, body, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(text, "client error ") {
		text = body
	}
	var reply struct {
		Message string `json:"message"`
	}
	if json.Unmarshal([]byte(text), &reply) == nil && reply.Message != "" {
		text = reply.Message
	}
	text = text[:min(len(text), maxErrorText)]
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
}
