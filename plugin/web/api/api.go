// Package api serves what programs call: Bitbucket's webhooks, the runner protocol and git. Its
// handlers turn requests into calls of the stations and answers into JSON, and decide nothing.
package api

import (
	"context"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/web/httpx"
	"slipway/runner/spec"
)

// Store finds whom a runner's token belongs to, and what is known of its build.
type Store interface {
	AttemptByToken(ctx context.Context, buildID, tokenHash string) (autobuild.Attempt, error)
	Build(ctx context.Context, id string) (autobuild.Build, error)
}

// Watcher takes a runner's reports; *watcher.Watcher.
type Watcher interface {
	Claim(ctx context.Context, a autobuild.Attempt, runnerID string) error
	Events(ctx context.Context, a autobuild.Attempt, e autobuild.EventRecord) error
	Permit(ctx context.Context, a autobuild.Attempt, tags, extra []string) (granted bool, reason string, err error)
	Finish(ctx context.Context, a autobuild.Attempt, f autobuild.Finish) error
}

// Specs says what an attempt is to build; *dispatcher.Dispatcher.
type Specs interface {
	Spec(ctx context.Context, a autobuild.Attempt) (spec.Spec, error)
	// BuilderTLS is who an engine's runners are to their builder.
	BuilderTLS(engine string) secret.Secret
}

// Logs keeps builds' logs; *logs.Logs.
type Logs interface {
	SetSecrets(buildID string, attempt int, secrets []secret.Secret)
	Append(ctx context.Context, buildID string, attempt int, offset int64, data []byte) (size int64, err error)
}

// Pipelines binds builds to pipelines of repositories; *inrepo.Engine implements it.
type Pipelines interface {
	RequestBuild(ctx context.Context, token secret.Secret, r autobuild.PipelineRequest) (inrepo.Reply, error)
}

// Probes knows the tokens of steps that build nothing; pipeline.Probes.
type Probes interface {
	// Verify returns the engine of the probe that a token belongs to. ok is false if the token is invalid or expired.
	Verify(token secret.Secret) (engine string, ok bool)
}

// Options make an API; all fields but Now are required.
type Options struct {
	Store     Store
	Watcher   Watcher
	Specs     Specs
	Logs      Logs
	Intake    Intake
	Pipelines Pipelines
	Probes    Probes
	Git       Git
	Now       func() time.Time // nil = time.Now
}

// An API is the handlers. It is safe for concurrent use.
type API struct {
	o        Options
	inFlight budget
	tokens   *httpx.Limiter // by token, good or not
	refused  *httpx.Limiter // by address, of tokens that are not known
	events   *httpx.Limiter // by attempt
	permits  *httpx.Limiter // by attempt
}

// New makes an API.
func New(o Options) *API {
	a := &API{
		o:       o,
		tokens:  httpx.NewLimiter(tokenEvery, tokenBurst, o.Now),
		refused: httpx.NewLimiter(refusedEvery, refusedBurst, o.Now),
		events:  httpx.NewLimiter(eventsEvery, eventsBurst, o.Now),
		permits: httpx.NewLimiter(permitsEvery, permitsBurst, o.Now),
	}
	a.inFlight.small.Store(maxSmall)
	a.inFlight.large.Store(maxInFlight - maxSmall)
	return a
}

// Mount adds the routes; httpx.Errors must stand before them. Deliveries have no limit of their
// number: Bitbucket does not send again what a 4xx refused.
func (a *API) Mount(r gin.IRouter) {
	r.POST("/hooks/bitbucket/:id", httpx.Handle(a.receive))
	runners := r.Group("", a.limit)
	runners.POST(spec.ProbePath, httpx.Handle(a.probe))
	builds := runners.Group("/runner/v1/builds/:id")
	for path, handler := range map[string]func(*gin.Context, autobuild.Attempt) error{
		"/claim": a.claim, "/events": a.recordEvents, "/log": a.appendLog, "/permit": a.permit,
	} {
		builds.POST(path, httpx.Handle(a.authenticated(handler)))
	}
	builds.POST("/finish", httpx.Handle(a.finish))
	runners.POST("/runner/v1/automated/:id/join", httpx.Handle(a.join))
	runners.GET(gitPath, httpx.Handle(a.git))
	runners.POST(gitPath, httpx.Handle(a.git))
}
