package woodpecker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

const (
	// callTimeout bounds a call that needs no forge. forgeTimeout bounds a call for
	// which the server first requests pages from Bitbucket and its extensions, each up to three
	// times.
	callTimeout  = 10 * time.Second
	forgeTimeout = 120 * time.Second
	maxResponse  = 8 << 20 // bytes; a page of pipelines is the largest response
	maxErrorText = 500     // bytes of an error's text that messages repeat
)

// A client calls Woodpecker's REST API as one user. It is safe for concurrent use.
// https://woodpecker-ci.org/api
type client struct {
	server string // origin, e.g. https://ci.example.com
	token  secret.Secret
	http   *http.Client

	builder      string        // builder repository; may be empty
	buildTimeout time.Duration // limit of a build; 0 = not known
	// extensions are set on the builder repository; zero = the server has them.
	extensions extensionURLs
}

// errTooLong is the error for a response of more than maxResponse bytes.
var errTooLong = fmt.Errorf("the server's response is longer than %d bytes", maxResponse)

// A response is the result of a call. Its body is already read.
type response struct {
	status   int
	filtered bool // the server reports that it filtered the pipeline out
	body     []byte
	date     time.Time // header Date; zero if the server sent none
}

// A serverError is a response with status 5xx. errors.Is reports it as ErrUnavailable.
type serverError struct {
	status int
	text   string
}

func (e *serverError) Error() string {
	return fmt.Sprintf("Woodpecker returned %d %s", e.status, e.text)
}

// Is reports true for autobuild.ErrUnavailable.
func (e *serverError) Is(target error) bool { return target == autobuild.ErrUnavailable }

// call sends one request and waits at most limit. It returns ErrUnavailable for transport errors,
// 5xx and 429. It also returns an error for statuses with which no request can succeed: redirects,
// 401 and 403. The caller handles all other statuses.
func (c *client) call(ctx context.Context, limit time.Duration, method, path string, in any) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return response{}, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return response{}, fmt.Errorf("call Woodpecker: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return response{}, fmt.Errorf(
			"the Woodpecker server at %s does not respond: %w (%w)",
			c.server, pipeline.WithoutURL(err), autobuild.ErrUnavailable,
		)
	}
	defer resp.Body.Close()
	return c.read(resp)
}

func (c *client) read(resp *http.Response) (response, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return response{}, fmt.Errorf("read Woodpecker's response: %w (%w)", err, autobuild.ErrUnavailable)
	}
	if len(data) > maxResponse {
		return response{}, errTooLong
	}
	a := response{status: resp.StatusCode, filtered: resp.Header.Get("Pipeline-Filtered") == "true", body: data}
	a.date, _ = http.ParseTime(resp.Header.Get("Date"))
	switch {
	case a.status >= http.StatusMultipleChoices && a.status < http.StatusBadRequest:
		return a, fmt.Errorf(
			"%s redirects: set SLIPWAY_WOODPECKER_SERVER to the final address: %w",
			c.server, autobuild.ErrForbidden,
		)
	case a.status == http.StatusUnauthorized:
		return a, fmt.Errorf(
			"the Woodpecker server does not accept the token: create a new one there (user settings, API) and "+
				"set SLIPWAY_WOODPECKER_TOKEN: %w",
			autobuild.ErrUnauthorized,
		)
	case a.status == http.StatusForbidden:
		return a, fmt.Errorf(
			"the Woodpecker server does not allow this for our user: give it push access at Bitbucket: %w",
			autobuild.ErrForbidden,
		)
	case a.status == http.StatusTooManyRequests:
		return a, fmt.Errorf("the Woodpecker server received too many requests: %w", autobuild.ErrUnavailable)
	case a.status >= http.StatusInternalServerError:
		return a, &serverError{a.status, a.errorText()}
	}
	return a, nil
}

// get requests a resource and decodes the JSON response into out. It returns ErrNotFound for 404.
func (c *client) get(ctx context.Context, path string, out any) error {
	a, err := c.call(ctx, callTimeout, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return a.decode(out)
}

func (a response) decode(out any) error {
	switch {
	case a.status == http.StatusNotFound:
		return autobuild.ErrNotFound
	case a.status != http.StatusOK:
		return fmt.Errorf("the Woodpecker server returned %d %s", a.status, a.errorText())
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("decode Woodpecker's response: %w", err)
	}
	return nil
}

// errorText returns the beginning of the response's text, for messages.
func (a response) errorText() string {
	return strings.ToValidUTF8(string(bytes.TrimSpace(a.body[:min(len(a.body), maxErrorText)])), "?")
}
