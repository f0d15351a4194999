// Package report is the runner's side of the runner protocol (package spec). It claims an attempt,
// reports its events with a heartbeat, streams its masked log, requests the permit and sends the result.
// It survives restarts of the gateway, and stops at once if the gateway reports that the attempt is over.
package report

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/secret"
	"slipway/runner/spec"
)

// The permanent errors of the gateway. Match them with errors.Is.
var (
	ErrOver         = errors.New("the gateway reports that this attempt is over")
	ErrUnauthorized = errors.New("the gateway does not know this runner's token")
	ErrTaken        = errors.New("another runner has claimed this attempt")
)

// A StatusError is any other error status of the gateway.
type StatusError struct {
	Status     int
	Message    string        // message in the gateway's reply
	RetryAfter time.Duration // time to wait, at most maxRetryAfter; 0 = not set by the gateway
}

// maxRetryAfter is well below the time after which a gateway gives up a runner without reports.
const maxRetryAfter = 30 * time.Second

// Error returns the status and the gateway's message.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the gateway returned %d: %s", e.Status, e.Message)
}

// Cancelled is the cause of the end of a Session's context if the build was canceled.
type Cancelled struct{ Reason string }

// Error returns the reason after the word "cancelled".
func (e *Cancelled) Error() string { return "cancelled: " + e.Reason }

// Options make a Client. URL and Token are required.
type Options struct {
	URL       string // URL of the build, …/runner/v1/builds/{id}; for a probe …/runner/v1
	Token     secret.Secret
	Version   string                 // version of this program
	HTTP      *http.Client           // nil = one with a time-out of 30 s; redirects are never followed
	Heartbeat time.Duration          // default 1 s
	Patience  time.Duration          // time for which claim and finish try to reach the gateway; default 2 min
	Backoff   func() backoff.BackOff // nil = exponential from 200 ms to 5 s, jittered
	Now       func() time.Time       // nil = time.Now
}

// A Client sends the requests of one attempt. It is safe for concurrent use.
type Client struct {
	o        Options
	http     *http.Client
	runnerID string
}

// New makes a Client with a runner id of its own.
func New(o Options) *Client {
	client := &http.Client{Timeout: 30 * time.Second}
	if o.HTTP != nil {
		*client = *o.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if o.Heartbeat == 0 {
		o.Heartbeat = time.Second
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Backoff == nil {
		o.Backoff = func() backoff.BackOff {
			b := backoff.NewExponentialBackOff()
			b.InitialInterval, b.Multiplier, b.MaxInterval = 200*time.Millisecond, 2, 5*time.Second
			return b
		}
	}
	return &Client{o: o, http: client, runnerID: rand.Text()}
}

// Claim claims the attempt and returns its spec. It retries for Options.Patience. Errors: ErrTaken,
// ErrOver, ErrUnauthorized, *StatusError.
func (c *Client) Claim(ctx context.Context) (s spec.Spec, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Patience)
	defer cancel()
	body := spec.ClaimRequest{RunnerID: c.runnerID, Version: c.o.Version}
	err = c.call(ctx, "claim", body, func(r io.Reader) (err error) {
		s, err = spec.DecodeSpec(r)
		return err
	})
	var refused *StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		err = ErrTaken
	}
	return s, wrap("claim", err)
}

// Probe checks, with one request, whether the gateway accepts a probe's token.
func (c *Client) Probe(ctx context.Context) (reply spec.ProbeReply, err error) {
	err = c.post(ctx, "probe", nil, func(body io.Reader) (err error) {
		reply, err = spec.DecodeProbe(body)
		return err
	})
	return reply, err
}

// Permit requests a permit to move the build's tags to digest. It retries until ctx ends.
func (c *Client) Permit(ctx context.Context, digest string, tags []string) (reply spec.PermitReply, err error) {
	return c.permit(ctx, spec.PermitRequest{Digest: digest, Tags: tags})
}

// PermitExtra is like Permit, for tags that the build's rule does not name. It returns a *StatusError
// with 422 if the build has too many of them.
func (c *Client) PermitExtra(ctx context.Context, digest string, tags []string) (reply spec.PermitReply, err error) {
	return c.permit(ctx, spec.PermitRequest{Digest: digest, Tags: []string{}, ExtraTags: tags})
}

func (c *Client) permit(ctx context.Context, r spec.PermitRequest) (reply spec.PermitReply, err error) {
	err = c.call(ctx, "permit", r, decode(&reply))
	return reply, wrap("request the permit", err)
}

// Finish sends the result. It has its own timeout, Options.Patience, because ctx may have ended.
func (c *Client) Finish(ctx context.Context, r spec.Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.Patience)
	defer cancel()
	return wrap("finish", c.call(ctx, "finish", r, func(io.Reader) error { return nil }))
}

// call posts a JSON body until the gateway gives a final response.
func (c *Client) call(ctx context.Context, path string, body any, read func(io.Reader) error) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		err := c.post(ctx, path, encoded, read)
		if err != nil && isPermanent(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		if wait := retryAfter(err); wait > 0 {
			return struct{}{}, errors.Join(err, &backoff.RetryAfterError{Duration: wait})
		}
		return struct{}{}, err
	}, backoff.WithBackOff(c.o.Backoff()), backoff.WithMaxElapsedTime(0))
	return err
}

// post makes one request.
func (c *Client) post(ctx context.Context, path string, body []byte, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL+"/"+path, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.o.Token.Reveal())
	req.Header.Set("User-Agent", "slipway-runner/"+c.o.Version)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	bounded := io.LimitReader(resp.Body, spec.MaxBody)
	switch {
	case resp.StatusCode == http.StatusGone:
		return ErrOver
	case resp.StatusCode == http.StatusUnauthorized:
		return ErrUnauthorized
	case resp.StatusCode == http.StatusConflict && strings.HasPrefix(path, "log?"):
		return errors.Join(errGap, read(bounded))
	case resp.StatusCode >= 300:
		return statusError(resp, bounded)
	}
	return read(bounded)
}

// errGap is the 409 of a log request. The reply has the offset to continue at.
var errGap = errors.New("the gateway expects another offset of the log")

func statusError(resp *http.Response, body io.Reader) error {
	refused := &StatusError{Status: resp.StatusCode}
	var reply spec.ErrorReply
	if err := json.NewDecoder(body).Decode(&reply); err != nil || reply.Error == "" {
		reply.Error = http.StatusText(resp.StatusCode)
	}
	refused.Message = reply.Error
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		refused.RetryAfter = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	}
	return refused
}

// retryAfter returns the wait that the gateway requests; 0 if it requests none.
func retryAfter(err error) time.Duration {
	var refused *StatusError
	if errors.As(err, &refused) {
		return refused.RetryAfter
	}
	return 0
}

// isInvalid reports whether the gateway does not accept the form of a request: sending it again is
// useless.
func isInvalid(err error) bool {
	var refused *StatusError
	return errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity
}

// isPermanent reports whether a retry is useless: every 3xx and 4xx except the ones for overload.
func isPermanent(err error) bool {
	if errors.Is(err, ErrOver) || errors.Is(err, ErrUnauthorized) {
		return true
	}
	var refused *StatusError
	if !errors.As(err, &refused) {
		return false
	}
	busy := refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusRequestTimeout
	return refused.Status < 500 && !busy
}

func decode(v any) func(io.Reader) error {
	return func(r io.Reader) error { return json.NewDecoder(r).Decode(v) }
}

func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}

func logPath(offset int64) string { return "log?offset=" + strconv.FormatInt(offset, 10) }
