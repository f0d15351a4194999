// Package woodpecker is the engine that runs pipelines on a Woodpecker server. It starts them
// by REST, answers the server's config and secret extensions, and polls; nothing needs to be in
// the repositories. docs/woodpecker.md says how the two are set up.
package woodpecker

import (
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/engine/pipeline"
)

// Name is what automated builds and attempts call this engine.
const Name = "woodpecker"

// Options make an Engine; Repository, Probes and Now may be empty.
type Options struct {
	Server     string // its origin
	Token      secret.Secret
	Repository string // builder repository; empty = each repository runs its own
	Step       pipeline.Step
	Handovers  pipeline.Handovers
	Probes     pipeline.Probes
	Now        func() time.Time // nil = time.Now
	Log        logrus.FieldLogger
}

// An Engine runs pipelines on one server. It is safe for concurrent use.
type Engine struct {
	*pipeline.Engine
	o        Options
	client   *client
	desk     *pipeline.TokenIssuer
	verifier *verifier
	replays  *pipeline.Replays
	seen     *pipeline.RequestLog
}

// New returns an Engine. It asks nobody anything.
func New(o Options) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &client{server: o.Server, token: o.Token, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for the server alone
	}}
	return &Engine{
		Engine: pipeline.New(pipeline.Options{
			CI: c, Identity: c, Logs: c, Handovers: o.Handovers, Repository: o.Repository, Probes: o.Probes, Remedies: mends(o), Log: o.Log,
		}),
		o:        o,
		client:   c,
		desk:     pipeline.NewTokenIssuer(o.Handovers, c, o.Probes, event),
		verifier: &verifier{client: c, now: o.Now},
		replays:  pipeline.NewReplays(pipeline.MaxAge, o.Now),
		seen:     pipeline.NewRequestLog(o.Now),
	}
}
