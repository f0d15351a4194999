package woodpecker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/logctx"
)

// maxRequest bounds the body of a request, in bytes. It is large enough for a pipeline with 500
// changed files and the repository's own configuration.
const maxRequest = 4 << 20

// A request is the body of a request to both extensions. Other fields, among them credentials for
// Bitbucket, are not read. Bodies are never logged.
type request struct {
	Repo     repo `json:"repo"`
	Pipeline run  `json:"pipeline"`
}

// Handler serves the two extensions below /extensions/woodpecker/.
//
//   - config: returns our workflow for our builds, and 204 for any other pipeline, which runs unchanged.
//   - secret: returns the runner's token to the pipeline that is bound to the attempt, otherwise 204.
//
// A request with an invalid signature gets 401, and so does a repeated request that had an effect.
// https://woodpecker-ci.org/docs/usage/extensions
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+configPath, e.extension("config", e.config))
	mux.HandleFunc("POST "+secretPath, e.extension("secret", e.secret))
	return mux
}

// notNow is the whole text of a response to a request that fails because of the gateway.
const notNow = "the gateway cannot respond now"

// errReplay refuses a request that has already had its effect.
var errReplay = errors.New("the signature was used before")

// extension handles one kind of request. Woodpecker sends a request up to three times if it gets
// 204 or no response. Within one second these requests have the same signature. So only a request
// with a result counts as used.
func (e *Engine) extension(kind string, respond func(ctx context.Context, q request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, signature, err := e.read(w, r)
		if err != nil {
			e.refuse(r.Context(), w, kind, err)
			return
		}
		out, err := e.respondOnce(r.Context(), q, signature, respond)
		switch {
		case errors.Is(err, errReplay):
			e.refuse(r.Context(), w, kind, err)
		case errors.Is(err, autobuild.ErrNotFound):
			e.requestLog.Accepted(kind)
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, autobuild.ErrForbidden),
			errors.Is(err, autobuild.ErrConflict),
			errors.Is(err, autobuild.ErrFenced):
			e.requestLog.Accepted(kind)
			e.log(r.Context(), kind, q).WithError(err).Warn("pipeline with our parameters rejected")
			w.WriteHeader(http.StatusNoContent)
		case err != nil:
			e.log(r.Context(), kind, q).WithError(err).Error("request of Woodpecker failed")
			http.Error(w, notNow, http.StatusServiceUnavailable)
		default:
			e.requestLog.Accepted(kind)
			e.reply(r.Context(), w, kind, q, out)
		}
	}
}

// respondOnce serves the request of one of our pipelines, once for each signature. If respond fails,
// the signature may be used again, because Woodpecker may repeat the request within one second.
func (e *Engine) respondOnce(
	ctx context.Context,
	q request,
	signature string,
	respond func(context.Context, request) (any, error),
) (any, error) {
	a, err := e.issuer.Attempt(ctx, requestOf(q))
	if err != nil {
		return nil, err
	}
	if !e.replays.First(signature) {
		return nil, errReplay
	}
	out, err := respond(logctx.Attempt(ctx, a), q)
	if err != nil {
		e.replays.Forget(signature)
	}
	return out, err
}

// read returns the content and the signature of a request with a valid signature.
func (e *Engine) read(w http.ResponseWriter, r *http.Request) (q request, signature string, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return request{}, "", fmt.Errorf("read the request: %w", err)
	}
	if signature, err = e.verifier.verify(r, body); err != nil {
		return request{}, "", err
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return request{}, "", errors.New("the body is not a request of Woodpecker")
	}
	return q, signature, nil
}

func (e *Engine) reply(ctx context.Context, w http.ResponseWriter, kind string, q request, out any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		e.log(ctx, kind, q).WithError(err).Warn("Woodpecker closed the connection before the response")
	}
}

func (e *Engine) config(_ context.Context, q request) (any, error) {
	p, _ := pipeline.ReadParams(q.Pipeline.Variables)
	text, err := workflowYAML(e.o.Step, p.BuildID)
	if err != nil {
		return nil, err
	}
	type file struct {
		Name string `json:"name"`
		Data string `json:"data"`
	}
	return struct {
		Configs []file `json:"configs"`
	}{[]file{{workflowName, text}}}, nil
}

func (e *Engine) secret(ctx context.Context, q request) (any, error) {
	token, err := e.issuer.Token(ctx, requestOf(q))
	if err != nil {
		return nil, err
	}
	e.log(ctx, "secret", q).Info("runner token sent to its pipeline")
	type secret struct {
		Name   string   `json:"name"`
		Value  string   `json:"value"`
		Events []string `json:"events"`
	}
	return struct {
		Secrets []secret `json:"secrets"`
	}{[]secret{{pipeline.TokenSecret, token.Reveal(), []string{event}}}}, nil
}

// refuse rejects a request. The response contains the reason for the readers of Woodpecker's log.
// If the gateway has no key, Woodpecker retries, and the response contains no reason.
func (e *Engine) refuse(ctx context.Context, w http.ResponseWriter, kind string, err error) {
	var tooLong *http.MaxBytesError
	status, words := http.StatusUnauthorized, err.Error()
	switch {
	case errors.As(err, &tooLong):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errNoKey):
		status, words = http.StatusServiceUnavailable, notNow
	}
	if e.requestLog.Refused(kind, err) {
		logctx.Log(ctx, e.o.Log).WithError(err).WithField("extension", kind).
			Warn("request of Woodpecker refused; further ones are logged once a minute")
	}
	http.Error(w, words, status)
}

func (e *Engine) log(ctx context.Context, kind string, q request) logrus.FieldLogger {
	return logctx.Log(ctx, e.o.Log).WithFields(logrus.Fields{
		"extension": kind, "repository": q.Repo.FullName, "pipeline": q.Pipeline.Number,
	})
}

func requestOf(q request) pipeline.Request {
	return pipeline.Request{
		Params: q.Pipeline.Variables, Repository: q.Repo.FullName, Number: q.Pipeline.Number,
		Event: q.Pipeline.Event, Sender: q.Pipeline.Author,
	}
}
