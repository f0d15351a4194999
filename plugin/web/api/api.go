// Package api serves the routes for programs: Bitbucket's webhooks, the runner protocol and git. The
// handlers validate requests, call the services and write the results as JSON.
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

// Store returns the attempt of a runner's token, and its build. *store.Store implements it.
type Store interface {
	AttemptByToken(ctx context.Context, buildID, tokenHash string) (autobuild.Attempt, error)
	Build(ctx context.Context, id string) (autobuild.Build, error)
	// SetRunnerVersion stores the version of the runner that claimed an attempt.
	SetRunnerVersion(ctx context.Context, buildID string, attempt int, version string) error
}

// Watcher receives the reports of runners. *watcher.Watcher implements it.
type Watcher interface {
	Claim(ctx context.Context, a autobuild.Attempt, runnerID string) error
	Events(ctx context.Context, a autobuild.Attempt, e autobuild.EventRecord) error
	Permit(ctx context.Context, a autobuild.Attempt, tags, extra []string) (granted bool, reason string, err error)
	Finish(ctx context.Context, a autobuild.Attempt, f autobuild.Finish) error
}

// Specs returns the spec of an attempt's build. *dispatcher.Dispatcher implements it.
type Specs interface {
	Spec(ctx context.Context, a autobuild.Attempt) (spec.Spec, error)
	// BuilderTLS returns the client certificate of an engine's runners for their builder.
	BuilderTLS(engine string) secret.Secret
}

// Logs stores the logs of builds. *logs.Logs implements it.
type Logs interface {
	SetSecrets(buildID string, attempt int, secrets []secret.Secret)
	Append(ctx context.Context, buildID string, attempt int, offset int64, data []byte) (size int64, err error)
}

// Pipelines binds builds to pipelines of repositories; *inrepo.Engine implements it.
type Pipelines interface {
	RequestBuild(ctx context.Context, token secret.Secret, r autobuild.PipelineRequest) (inrepo.Reply, error)
}

// Probes verifies the tokens of steps that build nothing. pipeline.Probes implements it.
type Probes interface {
	// Verify returns the engine of the probe that a token belongs to. ok is false if the token is invalid or expired.
	Verify(token secret.Secret) (engine string, ok bool)
}

// Options configure an API. All fields except Now are required.
type Options struct {
	Store     Store
	Watcher   Watcher
	Specs     Specs
	Logs      Logs
	Intake    Intake
	Pipelines Pipelines
	Probes    Probes
	Git       Git
	Now       func() time.Time // nil means time.Now
}

// An API holds the handlers. It is safe for concurrent use.
type API struct {
	o        Options
	inFlight budget         // of deliveries to webhooks that exist
	unknown  budget         // of deliveries to other webhooks
	tokens   *httpx.Limiter // by token, valid or not
	rejected *httpx.Limiter // by address, for requests with an invalid token
	events   *httpx.Limiter // by attempt
	permits  *httpx.Limiter // by attempt
}

// New returns an API.
func New(o Options) *API {
	a := &API{
		o:        o,
		tokens:   httpx.NewLimiter(tokenEvery, tokenBurst, o.Now),
		rejected: httpx.NewLimiter(rejectedEvery, rejectedBurst, o.Now),
		events:   httpx.NewLimiter(eventsEvery, eventsBurst, o.Now),
		permits:  httpx.NewLimiter(permitsEvery, permitsBurst, o.Now),
	}
	a.inFlight.left, a.unknown.left = knownBudget(), unknownBudget()
	return a
}

// Mount adds the routes. The middleware httpx.Errors must run before them. The number of deliveries
// is not limited, because Bitbucket does not repeat a delivery after a 4xx.
func (a *API) Mount(r gin.IRouter) {
	r.POST("/hooks/bitbucket/:id", httpx.Handle(a.receive))
	runners := r.Group("", a.limit)
	runners.POST(spec.ProbePath, httpx.Handle(a.serveProbe))
	builds := runners.Group("/runner/v1/builds/:id")
	for path, handler := range map[string]func(*gin.Context, autobuild.Attempt) error{
		"/claim": a.claim, "/events": a.recordEvents, "/log": a.appendLog, "/permit": a.permit,
	} {
		builds.POST(path, httpx.Handle(a.withAttempt(handler)))
	}
	builds.POST("/finish", httpx.Handle(a.finish))
	runners.POST("/runner/v1/automated/:id/join", httpx.Handle(a.join))
	runners.GET(gitPath, httpx.Handle(a.serveGit))
	runners.POST(gitPath, httpx.Handle(a.serveGit))
}
