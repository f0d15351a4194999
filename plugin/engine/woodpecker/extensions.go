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
	"slipway/plugin/trail"
)

// maxRequest bounds a request's body, in bytes. It holds a pipeline with up to 500 changed
// files and the repository's own configuration.
const maxRequest = 4 << 20

// A request is what both extensions are asked with. Whatever else stands in it, as credentials
// for the forge, is not read, and bodies are not logged.
type request struct {
	Repo     repo `json:"repo"`
	Pipeline run  `json:"pipeline"`
}

// Handler serves the two extensions, below /extensions/woodpecker/.
//
//   - config: our workflow for our builds, 204 for every other pipeline, which goes on unchanged.
//   - secret: the runner's token, for the pipeline that has the attempt; otherwise 204.
//
// A request that is not signed as it must be gets 401, one that changes something a second time
// too. https://woodpecker-ci.org/docs/usage/extensions
func (e *Engine) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /extensions/woodpecker/config", e.extension("config", e.config))
	mux.HandleFunc("POST /extensions/woodpecker/secret", e.extension("secret", e.secret))
	return mux
}

// notNow is all that is told of a fault that is ours.
const notNow = "the gateway cannot answer now"

// errReplay refuses a request that had its effect before.
var errReplay = errors.New("the same signature came before")

// extension stands before a kind of request. Woodpecker asks thrice where it is told nothing
// (204) or nothing comes back, and within a second that is the same signature: so only what is
// answered with something counts once.
func (e *Engine) extension(kind string, answer func(ctx context.Context, q request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, signature, err := e.read(w, r)
		if err != nil {
			e.refuse(r.Context(), w, kind, err)
			return
		}
		out, err := e.ours(r.Context(), q, signature, answer)
		switch {
		case errors.Is(err, errReplay):
			e.refuse(r.Context(), w, kind, err)
		case errors.Is(err, autobuild.ErrNotFound):
			e.seen.Accepted(kind)
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, autobuild.ErrForbidden), errors.Is(err, autobuild.ErrConflict), errors.Is(err, autobuild.ErrFenced):
			e.seen.Accepted(kind)
			e.log(r.Context(), kind, q).WithError(err).Warn("a pipeline with our parameters gets nothing of ours")
			w.WriteHeader(http.StatusNoContent)
		case err != nil:
			e.log(r.Context(), kind, q).WithError(err).Error("request of Woodpecker not answered")
			http.Error(w, notNow, http.StatusServiceUnavailable)
		default:
			e.seen.Accepted(kind)
			e.reply(r.Context(), w, kind, q, out)
		}
	}
}

// ours answers for a pipeline of ours, once for each signature. What cannot be answered now
// Woodpecker asks again, within a second with the same signature.
func (e *Engine) ours(ctx context.Context, q request, signature string, answer func(context.Context, request) (any, error)) (any, error) {
	a, err := e.desk.Attempt(ctx, asked(q))
	if err != nil {
		return nil, err
	}
	if !e.replays.First(signature) {
		return nil, errReplay
	}
	out, err := answer(trail.Attempt(ctx, a), q)
	if err != nil {
		e.replays.Forget(signature)
	}
	return out, err
}

// read takes a request whose signature is good.
func (e *Engine) read(w http.ResponseWriter, r *http.Request) (q request, signature string, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return request{}, "", fmt.Errorf("read the request: %w", err)
	}
	if signature, err = e.verifier.verify(r, body); err != nil {
		return request{}, "", err
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return request{}, "", errors.New("the body is not what Woodpecker sends")
	}
	return q, signature, nil
}

func (e *Engine) reply(ctx context.Context, w http.ResponseWriter, kind string, q request, out any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		e.log(ctx, kind, q).WithError(err).Warn("Woodpecker hung up before its answer")
	}
}

func (e *Engine) config(_ context.Context, q request) (any, error) {
	p, _ := pipeline.ReadParams(q.Pipeline.Variables)
	text, err := yamlOf(e.o.Step, p.BuildID)
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
	token, err := e.desk.Token(ctx, asked(q))
	if err != nil {
		return nil, err
	}
	e.log(ctx, "secret", q).Info("runner's token handed to its pipeline")
	type secret struct {
		Name   string   `json:"name"`
		Value  string   `json:"value"`
		Events []string `json:"events"`
	}
	return struct {
		Secrets []secret `json:"secrets"`
	}{[]secret{{pipeline.TokenSecret, token.Reveal(), []string{event}}}}, nil
}

// refuse answers a request that is not taken, with the reason for whoever reads Woodpecker's
// log. Where the fault is not the request's, Woodpecker asks again, and nobody is told why.
func (e *Engine) refuse(ctx context.Context, w http.ResponseWriter, kind string, err error) {
	var tooLong *http.MaxBytesError
	status, words := http.StatusUnauthorized, err.Error()
	switch {
	case errors.As(err, &tooLong):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errNoKey):
		status, words = http.StatusServiceUnavailable, notNow
	}
	if e.seen.Refused(kind, err) {
		trail.Log(ctx, e.o.Log).WithError(err).WithField("extension", kind).Warn("request of Woodpecker refused; further ones are logged once a minute")
	}
	http.Error(w, words, status)
}

func (e *Engine) log(ctx context.Context, kind string, q request) logrus.FieldLogger {
	return trail.Log(ctx, e.o.Log).WithFields(logrus.Fields{"extension": kind, "repository": q.Repo.FullName, "pipeline": q.Pipeline.Number})
}

func asked(q request) pipeline.Request {
	return pipeline.Request{
		Params: q.Pipeline.Variables, Repository: q.Repo.FullName, Number: q.Pipeline.Number, Event: q.Pipeline.Event, Sender: q.Pipeline.Author,
	}
}
