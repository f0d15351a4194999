package drone

import (
	"context"
	"errors"
	"net/http"

	"github.com/drone/drone-go/drone"
	"github.com/drone/drone-go/plugin/config"
	"github.com/drone/drone-go/plugin/secret"
	"github.com/drone/drone-go/plugin/webhook"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/logctx"
)

// Handler serves Drone's requests below /extensions/drone/.
//
//   - config (DRONE_YAML_ENDPOINT): returns our pipeline for our builds. It returns 204 for any other
//     build, which then runs its repository's own pipeline.
//   - secret (DRONE_SECRET_PLUGIN_ENDPOINT of the runners): returns the runner's token to the build
//     that is bound to the attempt, and otherwise 404. Drone turns 404 into an empty variable.
//   - webhook (DRONE_WEBHOOK_ENDPOINT): a hint to check a build, whose response is sent before the check.
//     Webhooks that arrive twice, late or out of order change nothing.
//
// A request with an invalid signature gets 401 or 400, and a repeated request 404. Bodies are never
// logged: they contain credentials for Bitbucket.
// https://docs.drone.io/extensions/overview/
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(
		"POST /extensions/drone/config",
		e.guard("config", config.Handler(configs{e}, e.o.Secrets.Config.Reveal(), nil)),
	)
	mux.HandleFunc(
		"POST /extensions/drone/secret",
		e.guard("secret", secret.Handler(e.o.Secrets.Secret.Reveal(), tokens{e}, nil)),
	)
	mux.HandleFunc(
		"POST /extensions/drone/webhook",
		e.guard("webhook", webhook.Handler(webhooks{e}, e.o.Secrets.Webhook.Reveal(), nil)),
	)
	return mux
}

// errReplay refuses a request that has already had its effect. Dates are signed to the second, so
// two equal requests in one second have one signature. Drone never sends such requests: it requests
// the configuration of a build once, each build has its own nonce, and the runner requests each
// secret of a step once. Webhooks may arrive twice and are not refused.
var errReplay = errors.New("the signature was used before")

// isFirst reports whether a request with a valid signature arrives for the first time.
func (e *Engine) isFirst(ctx context.Context) bool {
	state, ok := ctx.Value(requestKey{}).(*request)
	return ok && e.replays.First(state.signature)
}

type configs struct{ *Engine }

// Find returns our pipeline, or nil for 204.
func (e configs) Find(ctx context.Context, r *config.Request) (*drone.Config, error) {
	a, err := e.issuer.Attempt(ctx, requestOf(r.Repo, r.Build))
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, nil //nolint:nilnil // drone-go's word for 204
	}
	if errors.Is(err, autobuild.ErrForbidden) {
		logctx.Log(ctx, e.o.Log).WithError(err).WithField("extension", "config").
			Warn("build with our parameters rejected")
		return nil, nil //nolint:nilnil // drone-go's word for 204
	}
	if err == nil && !e.isFirst(ctx) {
		err = errReplay
	}
	var text string
	if err == nil {
		text, err = e.buildConfig(a.BuildID)
	}
	if err != nil {
		return nil, refusal(ctx, err)
	}
	return &drone.Config{Data: text, Kind: "pipeline"}, nil
}

type tokens struct{ *Engine }

// Find returns the runner's token.
func (e tokens) Find(ctx context.Context, r *secret.Request) (*drone.Secret, error) {
	if r.Path != secretPath || r.Name != secretName {
		return nil, errors.New("this extension has no such secret") // of another pipeline, which may have declared it
	}
	a, err := e.issuer.Attempt(ctx, requestOf(r.Repo, r.Build))
	if err != nil {
		return nil, refusal(ctx, err)
	}
	if !e.isFirst(ctx) {
		return nil, refusal(ctx, errReplay)
	}
	token, err := e.issuer.Token(ctx, requestOf(r.Repo, r.Build))
	if err != nil {
		return nil, refusal(ctx, err)
	}
	logctx.Log(logctx.Attempt(ctx, a), e.o.Log).WithField("extension", "secret").WithField("pipeline", r.Build.Number).
		Info("runner token sent to its pipeline")
	return &drone.Secret{Name: secretName, Data: token.Reveal()}, nil
}

// seeLog is the text that Drone receives with a refusal. Drone shows it to the user who starts the
// build.
const seeLog = "the gateway refused the request: see its log"

// refusal records the reason of a refusal for guard, and returns the error for Drone.
func refusal(ctx context.Context, err error) error {
	if state, ok := ctx.Value(requestKey{}).(*request); ok {
		state.refused = err
	}
	return errors.New(seeLog)
}

type webhooks struct{ *Engine }

// Deliver passes a hint on. It ignores other builds and repeated webhooks.
func (e webhooks) Deliver(ctx context.Context, r *webhook.Request) error {
	if r.Event != webhook.EventBuild || r.Build == nil {
		return nil
	}
	if p, ok := pipeline.ReadParams(r.Build.Params); ok && e.isFirst(ctx) {
		e.o.Recheck(p.BuildID, p.Attempt)
	}
	return nil
}

func requestOf(r drone.Repo, b drone.Build) pipeline.Request {
	return pipeline.Request{
		Params:     b.Params,
		Repository: r.Namespace + "/" + r.Name,
		Number:     b.Number,
		Event:      b.Event,
		Sender:     b.Trigger,
	}
}
