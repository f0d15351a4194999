// Package woodpecker is the engine that runs pipelines on a Woodpecker server. It starts them by
// REST, serves the server's config and secret extensions, and polls. The repositories need no
// files. docs/woodpecker.md describes the setup.
package woodpecker

import (
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/engine/pipeline"
)

// Name identifies this engine in automated builds and attempts.
const Name = "woodpecker"

// Options configure an Engine. Repository, Gateway, BuildTimeout, Probes and Now are optional.
type Options struct {
	Server     string // origin, e.g. https://ci.example.com
	Token      secret.Secret
	Repository string // builder repository (owner/name); empty = each repository runs its own pipelines
	// Gateway is the URL at which the server reaches the gateway. If it is set, the engine sets the
	// extensions on the builder repository. Otherwise they must be set on the server.
	Gateway      string
	BuildTimeout time.Duration // limit of one attempt; 0 = not known
	Step         pipeline.Step
	Handovers    pipeline.Handovers
	Probes       pipeline.Probes
	Now          func() time.Time // clock; nil = time.Now
	Log          logrus.FieldLogger
}

// An Engine runs pipelines on one Woodpecker server. It is safe for concurrent use.
type Engine struct {
	*pipeline.Engine
	o          Options
	client     *client
	issuer     *pipeline.TokenIssuer
	verifier   *verifier
	replays    *pipeline.Replays
	requestLog *pipeline.RequestLog
}

// New returns an Engine. It sends no request.
func New(o Options) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &client{
		server: o.Server, token: o.Token, builder: o.Repository, buildTimeout: o.BuildTimeout,
		http: &http.Client{
			// A redirect could send the token to another server.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if o.Repository != "" && o.Gateway != "" {
		c.extensions = extensionsAt(o.Gateway)
	}
	return &Engine{
		Engine: pipeline.New(pipeline.Options{
			CI: c, Identity: c, Logs: c, Handovers: o.Handovers, Repository: o.Repository,
			Probes: o.Probes, Remedies: remedies(o), Log: o.Log,
		}),
		o:          o,
		client:     c,
		issuer:     pipeline.NewTokenIssuer(o.Handovers, c, o.Probes, event, o.Now),
		verifier:   &verifier{client: c, now: o.Now},
		replays:    pipeline.NewReplays(pipeline.MaxAge, o.Now),
		requestLog: pipeline.NewRequestLog(o.Now),
	}
}
