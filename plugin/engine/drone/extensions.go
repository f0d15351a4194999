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
	"slipway/plugin/trail"
)

// Handler serves what Drone asks, below /extensions/drone/.
//
//   - config (DRONE_YAML_ENDPOINT): our pipeline for our builds, 204 for every other one, which
//     runs its repository's own.
//   - secret (DRONE_SECRET_PLUGIN_ENDPOINT of the runners): the runner's token, for the build
//     that has the attempt; otherwise 404, of which Drone makes an empty variable.
//   - webhook (DRONE_WEBHOOK_ENDPOINT): a hint to look at a build, answered before anything is
//     done. Twice, late or in disorder they change nothing.
//
// A request that is not signed as it must be gets 401 or 400, and one that had its effect
// before 404. Bodies are not logged: they have credentials for the forge.
// https://docs.drone.io/extensions/overview/
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /extensions/drone/config", e.guard("config", config.Handler(configs{e}, e.o.Secrets.Config.Reveal(), nil)))
	mux.HandleFunc("POST /extensions/drone/secret", e.guard("secret", secret.Handler(e.o.Secrets.Secret.Reveal(), tokens{e}, nil)))
	mux.HandleFunc("POST /extensions/drone/webhook", e.guard("webhook", webhook.Handler(hints{e}, e.o.Secrets.Webhook.Reveal(), nil)))
	return mux
}

// errReplay refuses a request that had its effect before. Dates are signed to the second, so
// that the same question twice in one second has one signature; but Drone asks for a build's
// configuration once, each build has its own nonce, and its runner asks once for each secret
// of a step, of which ours has one. Webhooks may come twice, and are not refused.
var errReplay = errors.New("the same signature came before")

// first reports whether a request, whose signature is good, comes for the first time.
func (e *Engine) first(ctx context.Context) bool {
	known, ok := ctx.Value(requestKey{}).(*request)
	return ok && e.replays.First(known.signature)
}

type configs struct{ *Engine }

// Find answers with our pipeline, or nothing (nil): 204.
func (e configs) Find(ctx context.Context, r *config.Request) (*drone.Config, error) {
	a, err := e.desk.Attempt(ctx, asked(r.Repo, r.Build))
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, nil //nolint:nilnil // drone-go's word for 204
	}
	if errors.Is(err, autobuild.ErrForbidden) {
		trail.Log(ctx, e.o.Log).WithError(err).WithField("extension", "config").Warn("a build with our parameters gets nothing of ours")
		return nil, nil //nolint:nilnil // drone-go's word for 204
	}
	if err == nil && !e.first(ctx) {
		err = errReplay
	}
	var text string
	if err == nil {
		text, err = e.yamlOf(a.BuildID)
	}
	if err != nil {
		return nil, told(ctx, err)
	}
	return &drone.Config{Data: text, Kind: "pipeline"}, nil
}

type tokens struct{ *Engine }

// Find answers with the runner's token.
func (e tokens) Find(ctx context.Context, r *secret.Request) (*drone.Secret, error) {
	if r.Path != secretPath || r.Name != secretName {
		return nil, errors.New("this extension has no such secret") // of another pipeline, which may have declared it
	}
	a, err := e.desk.Attempt(ctx, asked(r.Repo, r.Build))
	if err != nil {
		return nil, told(ctx, err)
	}
	if !e.first(ctx) {
		return nil, told(ctx, errReplay)
	}
	token, err := e.desk.Token(ctx, asked(r.Repo, r.Build))
	if err != nil {
		return nil, told(ctx, err)
	}
	trail.Log(trail.Attempt(ctx, a), e.o.Log).WithField("extension", "secret").WithField("pipeline", r.Build.Number).Info("runner's token handed to its pipeline")
	return &drone.Secret{Name: secretName, Data: token.Reveal()}, nil
}

// seeLog is what Drone is told of a refusal, and tells whoever starts the build.
const seeLog = "the gateway refused, its log says why"

// told notes why a request is refused, and is what Drone is told of it.
func told(ctx context.Context, err error) error {
	if known, ok := ctx.Value(requestKey{}).(*request); ok {
		known.refused = err
	}
	return errors.New(seeLog)
}

type hints struct{ *Engine }

// Deliver passes a hint on. What is not a build of ours, or came before, is none.
func (e hints) Deliver(ctx context.Context, r *webhook.Request) error {
	if r.Event != webhook.EventBuild || r.Build == nil {
		return nil
	}
	if p, ok := pipeline.ReadParams(r.Build.Params); ok && e.first(ctx) {
		e.o.Nudge(p.BuildID, p.Attempt)
	}
	return nil
}

func asked(r drone.Repo, b drone.Build) pipeline.Request {
	return pipeline.Request{Params: b.Params, Repository: r.Namespace + "/" + r.Name, Number: b.Number, Event: b.Event, Sender: b.Trigger}
}
