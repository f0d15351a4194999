package inrepo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

// A Reply is the result of a pipeline's request: a build, or the reason why nothing is to be built.
type Reply struct {
	BuildID string // empty = nothing to build
	Number  int64
	Token   secret.Secret // the runner's token for the attempt
	Reason  string        // set if BuildID is empty
	// Unsure is true if a build may still follow: the ref has another head now, and its move back
	// to this commit may not have been received yet.
	Unsure bool
}

// A Refusal is the error for a pipeline that gets no build. Err is ErrNotFound if a later request
// may succeed, and ErrConflict if a user must act first.
type Refusal struct {
	Reason string // for the log of the pipeline
	Err    error
}

func (r *Refusal) Error() string { return r.Reason }

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }

// RequestBuild binds the oldest waiting build to the pipeline and returns it with a new runner
// token. If no build waits, it returns a Reply without a build, or a *Refusal. It returns
// ErrUnauthorized for a wrong token or automated build.
//
// The same pipeline may repeat the request until its runner claims the attempt. Each repetition
// invalidates the earlier token.
func (e *Engine) RequestBuild(ctx context.Context, token secret.Secret, r autobuild.PipelineRequest) (Reply, error) {
	if err := e.o.Tokens.CheckPipelineToken(ctx, r.AutomatedBuildID, autobuild.TokenHash(token)); err != nil {
		return Reply{}, err
	}
	runnerToken := autobuild.NewToken()
	b, err := e.o.Builds.BindPipeline(ctx, Name, r, autobuild.TokenHash(runnerToken))
	if err == nil {
		logctx.Log(logctx.Build(ctx, b), e.o.Log).
			WithField("pipeline", r.Pipeline).
			Info("pipeline of the repository requested the build")
		return Reply{BuildID: b.ID, Number: b.Number, Token: runnerToken}, nil
	}
	if !errors.Is(err, autobuild.ErrNotFound) {
		return Reply{}, err
	}
	return e.explain(ctx, r)
}

// explain returns the reason why no build waits. It schedules a poll if a push may be missing.
func (e *Engine) explain(ctx context.Context, r autobuild.PipelineRequest) (Reply, error) {
	a, err := e.o.Builds.AutomatedBuild(ctx, r.AutomatedBuildID)
	if err != nil {
		return Reply{}, err
	}
	// Read the history before the builds: a push and its builds are stored in one transaction.
	h, err := e.history(ctx, a.Repository, r)
	if err != nil {
		return Reply{}, err
	}
	builds, err := e.o.Builds.BuildsOf(ctx, r.AutomatedBuildID, r.Ref, r.Commit)
	if err != nil {
		return Reply{}, err
	}
	reply, err := replyWithoutBuild(a, r, h, builds)
	if reply.Unsure || errors.Is(err, autobuild.ErrNotFound) {
		if pollErr := e.o.Poller.PollSoon(ctx, a.Repository); pollErr != nil {
			logctx.Log(ctx, e.o.Log).WithError(pollErr).Warnf("poll of %s not scheduled", a.Repository.FullName)
		}
	}
	return reply, err
}

// refHistory relates a commit to the recorded heads of a ref.
type refHistory struct {
	isHead  bool // the commit is the current head
	wasHead bool // the commit was the head at some time
}

func (e *Engine) history(
	ctx context.Context, repository autobuild.Repository, r autobuild.PipelineRequest,
) (refHistory, error) {
	state, err := e.o.Refs.RefState(ctx, repository, r.Ref)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return refHistory{}, err
	}
	was, err := e.o.Refs.HasTransitionTo(ctx, repository, r.Ref, r.Commit)
	return refHistory{isHead: state.Head == r.Commit, wasHead: was}, err
}

// replyWithoutBuild returns the reply to a pipeline for which no attempt waits. It is pure. builds
// are those of the request's ref and commit, newest first.
func replyWithoutBuild(
	a autobuild.AutomatedBuild, r autobuild.PipelineRequest, h refHistory, builds []autobuild.Build,
) (Reply, error) {
	what := fmt.Sprintf("%s at %.12s", r.Ref.Full(), r.Commit)
	newest := newestPerRule(builds)
	for _, b := range newest {
		if b.State == autobuild.Queued || b.State == autobuild.Starting {
			reason := fmt.Sprintf("build %d of %s is %s: %s", b.Number, what, b.State, b.Detail)
			return Reply{}, &Refusal{strings.TrimSuffix(reason, ": "), autobuild.ErrNotFound}
		}
	}
	for _, b := range newest {
		switch b.State {
		case autobuild.Failed, autobuild.Errored, autobuild.Cancelled:
			reason := fmt.Sprintf(
				"build %d of %s has ended: %s (%s): retry it on its page, then run this pipeline again",
				b.Number, what, b.State, b.Reason,
			)
			return Reply{}, &Refusal{reason, autobuild.ErrConflict}
		}
	}
	if a.Engine != Name && len(newest) == 0 {
		reason := fmt.Sprintf(
			"the automated build of %s uses the engine %s: select %s (%s) on its page, or remove this step",
			a.Repository.FullName, a.Engine, Name, Words,
		)
		return Reply{}, &Refusal{reason, autobuild.ErrConflict}
	}
	if !h.isHead && !h.wasHead {
		reason := fmt.Sprintf(
			"no build of %s for %s: the push is unknown: check the webhook, and that the commit belongs to %s",
			a.Image, what, a.Repository.FullName,
		)
		return Reply{}, &Refusal{reason, autobuild.ErrNotFound}
	}
	return Reply{Reason: describeBuilds(what, newest), Unsure: !h.isHead}, nil
}

// describeBuilds returns the reason why a commit needs no further build.
func describeBuilds(what string, newest []autobuild.Build) string {
	if len(newest) == 0 {
		return "nothing to build of " + what + ": no rule of the automated build matches the push"
	}
	var all []string
	for _, b := range newest {
		if b.State == autobuild.Running {
			all = append(all, fmt.Sprintf("build %d is running in another pipeline", b.Number))
			continue
		}
		all = append(all, fmt.Sprintf("build %d has %s", b.Number, b.State))
	}
	return "nothing to build of " + what + ": " + strings.Join(all, ", ")
}

// newestPerRule returns the newest build of each rule, ordered by number. builds are newest first.
func newestPerRule(builds []autobuild.Build) []autobuild.Build {
	seen := map[string]bool{}
	var newest []autobuild.Build
	for _, b := range builds {
		if !seen[b.RuleID] {
			seen[b.RuleID] = true
			newest = append(newest, b)
		}
	}
	slices.SortFunc(newest, func(a, b autobuild.Build) int { return cmp.Compare(a.Number, b.Number) })
	return newest
}
