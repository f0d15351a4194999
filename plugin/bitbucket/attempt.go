package bitbucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"slipway/config/secret"
)

// A call is a prepared request. It can be sent any number of times.
type call struct {
	method     string
	url        *url.URL
	body       []byte
	repeatable bool
}

// String returns method and path for errors. It omits the query, which can contain secrets.
func (c *call) String() string { return c.method + " " + c.url.EscapedPath() }

func (c *Client) prepare(r Request) (*call, error) {
	u, err := c.resolve(r.Path, r.Query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Method, err)
	}
	call := &call{method: r.Method, url: u, repeatable: r.repeatable()}
	if r.Body != nil {
		call.body, err = json.Marshal(r.Body)
		if err != nil {
			return nil, fmt.Errorf("%s: encode the body: %w", call, err)
		}
	}
	return call, nil
}

// attempt sends the call once. After a 401 it renews the credential and sends the call once more.
func (c *Client) attempt(ctx context.Context, call *call, out any) (Response, error) {
	if err := c.o.Limiter.Wait(ctx); err != nil {
		return Response{}, fmt.Errorf("%s: wait for the rate limit: %w", call, err)
	}
	token, err := c.o.Token(ctx)
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", call, err)
	}
	response, err := c.send(ctx, call, token, out)
	if c.o.Renew == nil || !errors.Is(err, ErrUnauthorized) {
		return response, err
	}
	c.o.Log.WithError(err).Debug("bitbucket: renew the credential")
	token, err = c.o.Renew(ctx, token)
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", call, err)
	}
	return c.send(ctx, call, token, out)
}

func (c *Client) send(ctx context.Context, call *call, token secret.Secret, out any) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, call.method, call.url.String(), bytes.NewReader(call.body))
	if err != nil {
		return Response{}, fmt.Errorf("%s: create the request: %w", call, withoutURL(err))
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "slipway")
	if call.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !token.IsZero() && c.isSameOrigin(request.URL) {
		c.authorize(request, token)
	}
	countRequest(ctx)
	response, err := c.http.Do(request)
	if err != nil {
		return Response{}, call.transportError(err)
	}
	defer func() { _ = response.Body.Close() }()
	return call.readResponse(response, token, out)
}

func (c *Client) authorize(request *http.Request, token secret.Secret) {
	if c.o.User != "" {
		request.SetBasicAuth(c.o.User, token.Reveal())
		return
	}
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
}

// readResponse decodes a response. It returns an error for HTML with any status, because proxies, login
// pages and maintenance pages send HTML. An empty body is no web page, whatever its content type: Cloud
// sends 204 with text/html after some DELETE requests.
func (c *call) readResponse(response *http.Response, token secret.Secret, out any) (Response, error) {
	reply := Response{Status: response.StatusCode, Header: response.Header}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody)) // a partial body is enough for a message
		return reply, newError(c, response, body, token)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return reply, c.transportError(fmt.Errorf("read the response: %w", err))
	case len(body) > maxBody:
		return reply, &Error{Method: c.method, Path: c.url.EscapedPath(), Status: reply.Status,
			Message: fmt.Sprintf("the response is larger than %d MiB", maxBody>>20)}
	case len(bytes.TrimSpace(body)) == 0:
		return reply, c.checkEmpty(reply.Status, out)
	case isHTML(response.Header):
		return reply, newError(c, response, body, token)
	case out == nil:
		return reply, nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return reply, &Error{Method: c.method, Path: c.url.EscapedPath(), Status: reply.Status,
			Message: "invalid JSON in the response", cause: err}
	}
	return reply, nil
}

// errEmpty is the cause of an error for a missing object.
var errEmpty = errors.New("the body is empty")

// checkEmpty returns an error for a successful response without a body if the caller needs its object.
func (c *call) checkEmpty(status int, out any) error {
	if out == nil {
		return nil
	}
	return &Error{Method: c.method, Path: c.url.EscapedPath(), Status: status,
		Message: "no object in the response", cause: errEmpty}
}

// transportError returns the error of a call without a complete response.
func (c *call) transportError(err error) error {
	return &Error{Method: c.method, Path: c.url.EscapedPath(), Message: "no response", cause: withoutURL(err)}
}

// withoutURL removes the URL that net/http adds to its errors, because the URL contains the
// query.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func isHTML(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "text/html" || strings.HasPrefix(kind, "application/xhtml"))
}
