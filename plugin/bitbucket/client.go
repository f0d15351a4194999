package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"slipway/config/discard"
	"slipway/config/secret"
)

// The limits of one call. Cloud counts requests per hour. The rate limiter only prevents that an
// error in this program spends an hour's allowance within a second.
const (
	maxBody      = 16 << 20 // bytes of a response
	maxErrorBody = 64 << 10 // bytes of an error response
	maxTries     = 4
	maxElapsed   = 45 * time.Second // of all tries of one call
	maxPause     = 10 * time.Second // the caller must wait for a longer Retry-After
	perSecond    = 20
	burst        = 100
)

// TokenSource returns the credential for a call, and renews it shortly before it expires. It must
// be safe for concurrent use.
type TokenSource func(ctx context.Context) (secret.Secret, error)

// Options configure a Client. BaseURL and Token are required.
type Options struct {
	BaseURL string // URL of the API, for example https://api.bitbucket.org; may have a context path
	Token   TokenSource
	// User is the user name for Basic authentication with the credential as the password, as for
	// Cloud's API tokens: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/.
	// Empty = the credential is a bearer token.
	User string
	// Renew returns a new credential after the API returned 401 to refused. The call is then
	// repeated once. nil = no renewal.
	Renew     func(ctx context.Context, refused secret.Secret) (secret.Secret, error)
	Transport http.RoundTripper      // nil = http.DefaultTransport
	Limiter   *rate.Limiter          // shared by clients with the same allowance; nil = a new one
	Timeout   time.Duration          // timeout of one try with its body; default 60 s
	Backoff   func() backoff.BackOff // pauses between tries; nil = exponential from 0.5 s with jitter
	Log       logrus.FieldLogger     // nil = no log
}

// A Client calls one API with one credential. It is safe for concurrent use.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
}

// New checks the base URL and returns a Client. It makes no call.
func New(o Options) (*Client, error) {
	base, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	if o.Token == nil {
		return nil, errors.New("bitbucket: a client needs a token source")
	}
	if o.Limiter == nil {
		o.Limiter = NewLimiter()
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Backoff == nil {
		o.Backoff = exponential
	}
	if o.Log == nil {
		o.Log = discard.Logger()
	}
	c := &Client{o: o, base: base}
	c.http = &http.Client{Transport: o.Transport, CheckRedirect: c.checkRedirect}
	return c, nil
}

// NewLimiter returns a rate limiter for one allowance: 20 calls per second with bursts of 100.
// Share it between all clients that Cloud counts together, for example those of one OAuth
// consumer or of one access token.
func NewLimiter() *rate.Limiter { return rate.NewLimiter(perSecond, burst) }

func exponential() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 500 * time.Millisecond
	b.Multiplier = 2
	b.MaxInterval = 5 * time.Second
	return b
}

// A Request describes one call.
type Request struct {
	Method     string
	Path       string // escaped, below the base URL; see Join
	Query      url.Values
	Body       any  // sent as JSON
	Idempotent bool // a POST that is safe to repeat
}

func (r Request) repeatable() bool {
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodDelete:
		return true
	default:
		return r.Idempotent
	}
}

// A Response holds the status and the header of a response. The body is decoded separately.
type Response struct {
	Status int
	Header http.Header
}

// Do sends the call and decodes the JSON of the response into out, unless out is nil. If the
// connection or the provider fails, it repeats a repeatable call up to 4 times within 45 s.
//
// Errors are *Error, errors of the token source, or errors of ctx. Their text contains the method
// and the path, but no query and no secret. Do is safe for concurrent use.
func (c *Client) Do(ctx context.Context, r Request, out any) (Response, error) {
	call, err := c.prepare(r)
	if err != nil {
		return Response{}, err
	}
	return c.do(ctx, call, out)
}

func (c *Client) do(ctx context.Context, call *call, out any) (Response, error) {
	var last error
	response, err := backoff.Retry(ctx, func() (Response, error) {
		var response Response
		response, last = c.attempt(ctx, call, out)
		return response, retryError(call, last)
	},
		backoff.WithBackOff(c.o.Backoff()), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(maxElapsed),
		backoff.WithNotify(func(_ error, pause time.Duration) {
			c.o.Log.WithError(last).WithField("pause", pause.String()).Debug("bitbucket: retry a call")
		}))
	switch {
	case err == nil:
		return response, nil
	case ctx.Err() != nil:
		return Response{}, fmt.Errorf("%s: %w", call, context.Cause(ctx))
	default:
		return Response{}, last
	}
}

// retryError converts the error of a call for the retry loop, which then stops, waits or retries.
func retryError(call *call, err error) error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e), !e.isTemporary(), e.RetryAfter > maxPause:
		return backoff.Permanent(err)
	case e.Status != http.StatusTooManyRequests && !call.repeatable:
		return backoff.Permanent(err) // a 429 had no effect, so every call may be repeated after it
	case e.RetryAfter > 0:
		return &backoff.RetryAfterError{Duration: e.RetryAfter}
	default:
		return err
	}
}
