// Package drone is the engine that runs pipelines on a Drone server. It starts builds by API,
// serves the server's config extension and the runners' secret extension, and uses webhooks only
// as hints to check a build at once. docs/drone.md describes the setup.
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

// Name identifies this engine in automated builds and attempts.
const Name = "drone"

// The types of Drone runners.
const (
	TypeDocker     = "docker"
	TypeKubernetes = "kubernetes"
	TypeExec       = "exec"
)

// Secrets are the keys with which Drone signs its requests. Each extension has its own, so that a
// request to one is not valid at another.
type Secrets struct {
	Config, Secret, Webhook secret.Secret
}

// Options configure an Engine. Repository, BuildTimeout, Probes and Now are optional.
type Options struct {
	Server       string // origin, e.g. https://drone.example.com
	Token        secret.Secret
	Repository   string        // builder repository (owner/name); empty = each repository runs its own pipelines
	BuildTimeout time.Duration // limit of one attempt; 0 = not known
	Type         string        // TypeDocker, TypeKubernetes or TypeExec
	Platform     string        // platform of the runners, e.g. linux/amd64
	Step         pipeline.Step
	Secrets      Secrets
	Handovers    pipeline.Handovers
	Probes       pipeline.Probes
	// Recheck is called when a webhook reports a change of an attempt's pipeline. It must not
	// block.
	Recheck func(buildID string, attempt int)
	Now     func() time.Time // clock; nil = time.Now
	Log     logrus.FieldLogger
}

// An Engine runs pipelines on one Drone server. It is safe for concurrent use.
type Engine struct {
	*pipeline.Engine
	o          Options
	client     *client
	issuer     *pipeline.TokenIssuer
	replays    *pipeline.Replays
	requestLog *pipeline.RequestLog
}

// programPattern matches a path that an exec runner's shell reads as one word.
const programPattern = `^[A-Za-z0-9_./][A-Za-z0-9_./-]*$`

// New returns an Engine. It sends no request. It returns an error if an option is invalid.
func New(o Options) (*Engine, error) {
	config, token, hook := o.Secrets.Config.Reveal(), o.Secrets.Secret.Reveal(), o.Secrets.Webhook.Reveal()
	switch {
	case config == "", token == "", hook == "":
		return nil, errors.New("engine drone: an extension has no secret")
	case config == token, token == hook, hook == config:
		return nil, errors.New(
			"engine drone: two extensions have the same secret, so that one would accept requests for the other",
		)
	case o.Type != TypeDocker && o.Type != TypeKubernetes && o.Type != TypeExec:
		return nil, fmt.Errorf("SLIPWAY_DRONE_TYPE is %q: use docker, kubernetes or exec", o.Type)
	case o.Type == TypeExec && !regexp.MustCompile(programPattern).MatchString(o.Step.Image):
		return nil, fmt.Errorf(
			"SLIPWAY_DRONE_IMAGE is %q: for exec runners give the path of the slipway program, of letters, "+
				"digits, _, ., - and /",
			o.Step.Image,
		)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &client{
		server: o.Server, token: o.Token, base: http.DefaultTransport,
		builder: o.Repository, buildTimeout: o.BuildTimeout,
		activating: make(chan struct{}, 1),
	}
	return &Engine{
		Engine: pipeline.New(pipeline.Options{
			CI: c, Identity: c, Logs: c, Handovers: o.Handovers, Repository: o.Repository,
			Probes: o.Probes, Remedies: remedies(o), Log: o.Log,
		}),
		o:          o,
		client:     c,
		issuer:     pipeline.NewTokenIssuer(o.Handovers, c, o.Probes, event, o.Now),
		replays:    pipeline.NewReplays(pipeline.MaxAge, o.Now),
		requestLog: pipeline.NewRequestLog(o.Now),
	}, nil
}
