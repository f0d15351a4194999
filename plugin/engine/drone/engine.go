// Package drone is the engine that runs pipelines on a Drone server. It starts builds by API,
// answers the server's config and the runner's secret extension, and takes its webhooks as a
// hint to look. docs/drone.md says how the two are set up.
package drone

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/engine/pipeline"
)

// Name is what automated builds and attempts call this engine.
const Name = "drone"

// The kinds of Drone's runners.
const (
	TypeDocker     = "docker"
	TypeKubernetes = "kubernetes"
	TypeExec       = "exec"
)

// Secrets are what Drone signs its requests with: one for each extension, so that none can be
// sent to another.
type Secrets struct {
	Config, Secret, Webhook secret.Secret
}

// Options make an Engine; Repository, Probes and Now may be empty.
type Options struct {
	Server     string // its origin
	Token      secret.Secret
	Repository string // builder repository; empty = each repository runs its own
	Type       string
	Platform   string // of the runners, as linux/amd64
	Step       pipeline.Step
	Secrets    Secrets
	Handovers  pipeline.Handovers
	Probes     pipeline.Probes
	// Nudge is told that something happened to an attempt's pipeline; it must not block.
	Nudge func(buildID string, attempt int)
	Now   func() time.Time // nil = time.Now
	Log   logrus.FieldLogger
}

// An Engine runs pipelines on one server. It is safe for concurrent use.
type Engine struct {
	*pipeline.Engine
	o       Options
	client  *client
	desk    *pipeline.TokenIssuer
	replays *pipeline.Replays
	seen    *pipeline.RequestLog
}

// program is what an exec runner's shell takes for one word.
const program = `^[A-Za-z0-9_./][A-Za-z0-9_./-]*$`

// New returns an Engine. It asks nobody anything. Its error says which option cannot be.
func New(o Options) (*Engine, error) {
	config, token, hook := o.Secrets.Config.Reveal(), o.Secrets.Secret.Reveal(), o.Secrets.Webhook.Reveal()
	switch {
	case config == "", token == "", hook == "":
		return nil, errors.New("engine drone: an extension has no secret")
	case config == token, token == hook, hook == config:
		return nil, errors.New("engine drone: two extensions have the same secret, and the requests to one would be good at the other")
	case o.Type != TypeDocker && o.Type != TypeKubernetes && o.Type != TypeExec:
		return nil, fmt.Errorf("SLIPWAY_DRONE_TYPE is %q: use docker, kubernetes or exec", o.Type)
	case o.Type == TypeExec && !regexp.MustCompile(program).MatchString(o.Step.Image):
		return nil, fmt.Errorf("SLIPWAY_DRONE_IMAGE is %q: for exec runners give the path of the slipway program, of letters, digits, _, ., - and /", o.Step.Image)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &client{server: o.Server, token: o.Token, base: http.DefaultTransport, activating: make(chan struct{}, 1)}
	return &Engine{
		Engine: pipeline.New(pipeline.Options{
			CI: c, Identity: c, Logs: c, Handovers: o.Handovers, Repository: o.Repository, Probes: o.Probes, Remedies: mends(o), Log: o.Log,
		}),
		o:       o,
		client:  c,
		desk:    pipeline.NewTokenIssuer(o.Handovers, c, o.Probes, event),
		replays: pipeline.NewReplays(pipeline.MaxAge, o.Now),
		seen:    pipeline.NewRequestLog(o.Now),
	}, nil
}
