package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"slipway/config/secret"
)

// The limits of one call. Cloud counts requests by the hour; the limiter only keeps a fault
// of ours from spending an hour's allowance in a second.
const (
	maxBody      = 16 << 20 // bytes of an answer
	maxErrorBody = 64 << 10 // bytes of an error
	maxTries     = 4
	maxElapsed   = 45 * time.Second // of all tries of one call
	maxPause     = 10 * time.Second // a longer Retry-After is the caller's to wait for
	perSecond    = 20
	burst        = 100
)

// TokenSource returns the credential to send, renewed when it is about to expire. It must be
// safe for concurrent use.
type TokenSource func(ctx context.Context) (secret.Secret, error)

// Options open a Client. BaseURL and Token are required.
type Options struct {
	BaseURL string // of the API: https://api.bitbucket.org, or with a context path
	Token   TokenSource
	// User makes the credential the password of this user name (Basic), as Cloud's API tokens
	// are used: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/. Empty: it
	// is a bearer token.
	User string
	// Renew is asked once when the API answers 401 to a credential, which is passed in; the
	// call is repeated with what it returns. Nil: the 401 stands.
	Renew     func(ctx context.Context, refused secret.Secret) (secret.Secret, error)
	Transport http.RoundTripper      // nil = http.DefaultTransport
	Limiter   *rate.Limiter          // shared by clients that share an allowance; nil = one of its own
	Timeout   time.Duration          // of one try, its body included; default 60 s
	Backoff   func() backoff.BackOff // waits between tries; nil = exponential from 0.5 s with jitter
	Log       logrus.FieldLogger     // nil = silent
}

// A Client calls one API with one credential. It is safe for concurrent use.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
}

// New checks the base URL and returns a Client; it makes no call.
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
		o.Log = silent()
	}
	c := &Client{o: o, base: base}
	c.http = &http.Client{Transport: o.Transport, CheckRedirect: c.redirect}
	return c, nil
}

// NewLimiter returns the limiter of one allowance, to be shared by all clients that Cloud
// counts together: those of one OAuth consumer, or of one access token.
func NewLimiter() *rate.Limiter { return rate.NewLimiter(perSecond, burst) }

func exponential() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 500 * time.Millisecond
	b.Multiplier = 2
	b.MaxInterval = 5 * time.Second
	return b
}

func silent() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// A Request is one call.
type Request struct {
	Method     string
	Path       string // escaped, below the base URL; see Join
	Query      url.Values
	Body       any  // sent as JSON
	Idempotent bool // a POST that may be repeated
}

func (r Request) repeatable() bool {
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodDelete:
		return true
	default:
		return r.Idempotent
	}
}

// An Answer is what came with the decoded body.
type Answer struct {
	Status int
	Header http.Header
}

// Do makes the call and decodes the answer's JSON into out, unless out is nil. Calls that may
// be repeated are, a few times, when the connection or the provider fails. Errors are *Error,
// the token source's own, or the context's; their text has the method and the path, but no
// query and no secret.
func (c *Client) Do(ctx context.Context, r Request, out any) (Answer, error) {
	call, err := c.prepare(r)
	if err != nil {
		return Answer{}, err
	}
	return c.do(ctx, call, out)
}

func (c *Client) do(ctx context.Context, call *call, out any) (Answer, error) {
	var last error
	answer, err := backoff.Retry(ctx, func() (Answer, error) {
		var answer Answer
		answer, last = c.attempt(ctx, call, out)
		return answer, verdict(call, last)
	},
		backoff.WithBackOff(c.o.Backoff()), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(maxElapsed),
		backoff.WithNotify(func(_ error, pause time.Duration) {
			c.o.Log.WithError(last).WithField("pause", pause.String()).Debug("bitbucket: a call is repeated")
		}))
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return Answer{}, fmt.Errorf("%s: %w", call, context.Cause(ctx))
	default:
		return Answer{}, last
	}
}

// verdict tells the retry loop whether and when to repeat the call that ended with err.
func verdict(call *call, err error) error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e), !e.temporary(), e.RetryAfter > maxPause:
		return backoff.Permanent(err)
	case e.Status != http.StatusTooManyRequests && !call.repeatable:
		return backoff.Permanent(err) // a 429 was not acted upon, so anything may be repeated after it
	case e.RetryAfter > 0:
		return &backoff.RetryAfterError{Duration: e.RetryAfter}
	default:
		return err
	}
}
