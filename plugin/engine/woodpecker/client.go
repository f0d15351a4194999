package woodpecker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

const (
	// answerTime bounds a call; createTime one that starts a pipeline, for which the server
	// asks Bitbucket and its extensions, thrice each.
	answerTime = 10 * time.Second
	createTime = 120 * time.Second
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

// An answer is what a call came back with; its body was read.
type answer struct {
	status   int
	filtered bool // the server says that the pipeline was filtered out
	body     []byte
	date     time.Time // by the server's clock; zero when it told none
}

// call makes one request. Transport faults and 5xx are ErrUnavailable; other statuses are the
// caller's, except those that say that nothing will work: 401 and 403.
func (c *client) call(ctx context.Context, method, path string, in any) (answer, error) {
	limit := answerTime
	if method == http.MethodPost {
		limit = createTime
	}
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
		return answer{}, fmt.Errorf("Woodpecker at %s does not answer: %w (%w)", c.server, withoutURL(err), autobuild.ErrUnavailable)
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
		return answer{}, fmt.Errorf("Woodpecker's answer is longer than %d bytes", maxAnswer)
	}
	a := answer{status: resp.StatusCode, filtered: resp.Header.Get("Pipeline-Filtered") == "true", body: data}
	a.date, _ = http.ParseTime(resp.Header.Get("Date"))
	switch {
	case a.status == http.StatusUnauthorized:
		return a, fmt.Errorf("Woodpecker does not accept the token: make a new one there (user settings, API) and set SLIPWAY_WOODPECKER_TOKEN: %w", autobuild.ErrUnauthorized)
	case a.status == http.StatusForbidden:
		return a, fmt.Errorf("Woodpecker does not let our user do this: give it push access at Bitbucket: %w", autobuild.ErrForbidden)
	case a.status >= http.StatusInternalServerError:
		return a, fmt.Errorf("Woodpecker answered %d %s: %w", a.status, a.words(), autobuild.ErrUnavailable)
	}
	return a, nil
}

// get reads a resource; ErrNotFound for 404.
func (c *client) get(ctx context.Context, path string, out any) error {
	a, err := c.call(ctx, http.MethodGet, path, nil)
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
		return fmt.Errorf("Woodpecker answered %d %s", a.status, a.words())
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

// withoutURL is a transport's error without the address, which the sentence has.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
