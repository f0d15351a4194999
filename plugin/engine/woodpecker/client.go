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
	// answerTime bounds a call that the server answers by itself; forgeTime one for which it
	// asks Bitbucket, page by page, and its extensions, thrice each.
	answerTime = 10 * time.Second
	forgeTime  = 120 * time.Second
	maxAnswer  = 8 << 20 // bytes; a page of pipelines is the largest
	maxWords   = 500     // bytes of an error's text that are repeated
)

// A client speaks Woodpecker's REST API as one user.
// https://woodpecker-ci.org/api
type client struct {
	server string // origin
	token  secret.Secret
	http   *http.Client
}

// errTooLong is an answer that is not read to its end.
var errTooLong = fmt.Errorf("the server's answer is longer than %d bytes", maxAnswer)

// An answer is what a call came back with; its body was read.
type answer struct {
	status   int
	filtered bool // the server says that the pipeline was filtered out
	body     []byte
	date     time.Time // by the server's clock; zero when it told none
}

// A serverError is a 5xx. It is ErrUnavailable too.
type serverError struct {
	status int
	words  string
}

func (e *serverError) Error() string {
	return fmt.Sprintf("Woodpecker answered %d %s", e.status, e.words)
}

// Is makes every 5xx a case of ErrUnavailable.
func (e *serverError) Is(target error) bool { return target == autobuild.ErrUnavailable }

// call makes one request that takes no longer than limit. Transport faults, 5xx and 429 are
// ErrUnavailable; other statuses are the caller's, except those that say that nothing will
// work: redirects, 401 and 403.
func (c *client) call(ctx context.Context, limit time.Duration, method, path string, in any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return answer{}, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return answer{}, fmt.Errorf("call Woodpecker: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("the Woodpecker server at %s does not answer: %w (%w)", c.server, pipeline.WithoutURL(err), autobuild.ErrUnavailable)
	}
	defer resp.Body.Close()
	return c.read(resp)
}

func (c *client) read(resp *http.Response) (answer, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("read Woodpecker's answer: %w (%w)", err, autobuild.ErrUnavailable)
	}
	if len(data) > maxAnswer {
		return answer{}, errTooLong
	}
	a := answer{status: resp.StatusCode, filtered: resp.Header.Get("Pipeline-Filtered") == "true", body: data}
	a.date, _ = http.ParseTime(resp.Header.Get("Date"))
	switch {
	case a.status >= http.StatusMultipleChoices && a.status < http.StatusBadRequest:
		return a, fmt.Errorf("%s answers with a redirect: set SLIPWAY_WOODPECKER_SERVER to where Woodpecker itself is: %w", c.server, autobuild.ErrForbidden)
	case a.status == http.StatusUnauthorized:
		return a, fmt.Errorf("the Woodpecker server does not accept the token: make a new one there (user settings, API) and set SLIPWAY_WOODPECKER_TOKEN: %w", autobuild.ErrUnauthorized)
	case a.status == http.StatusForbidden:
		return a, fmt.Errorf("the Woodpecker server does not let our user do this: give it push access at Bitbucket: %w", autobuild.ErrForbidden)
	case a.status == http.StatusTooManyRequests:
		return a, fmt.Errorf("the Woodpecker server is asked too much: %w", autobuild.ErrUnavailable)
	case a.status >= http.StatusInternalServerError:
		return a, &serverError{a.status, a.words()}
	}
	return a, nil
}

// get reads a resource; ErrNotFound for 404.
func (c *client) get(ctx context.Context, path string, out any) error {
	a, err := c.call(ctx, answerTime, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return a.decode(out)
}

func (a answer) decode(out any) error {
	switch {
	case a.status == http.StatusNotFound:
		return autobuild.ErrNotFound
	case a.status != http.StatusOK:
		return fmt.Errorf("the Woodpecker server answered %d %s", a.status, a.words())
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("understand Woodpecker's answer: %w", err)
	}
	return nil
}

// words is the text of an error, for people.
func (a answer) words() string {
	return strings.ToValidUTF8(string(bytes.TrimSpace(a.body[:min(len(a.body), maxWords)])), "?")
}
