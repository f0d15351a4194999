package own

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

// An Answer is what a pipeline is to do: build BuildID with Token, or nothing, for a Reason.
type Answer struct {
	BuildID string // empty = nothing
	Number  int64
	Token   secret.Secret
	Reason  string
	// Unsure says that a build may come yet: the ref moved on, or its move back to this commit
	// is still untold.
	Unsure bool
}

// A Refusal is why a pipeline gets nothing, in words for its log. Its Err is ErrNotFound where
// asking again may help, and ErrConflict where somebody must mend something.
type Refusal struct {
	Reason string
	Err    error
}

func (r *Refusal) Error() string { return r.Reason }

// Unwrap returns the kind of refusal.
func (r *Refusal) Unwrap() error { return r.Err }

// Join gives a pipeline that shows the automated build's token the oldest build that waits for
// one, with a token of its own that is made now, or says why there is nothing. Errors are
// ErrUnauthorized for a wrong token or automated build, and *Refusal. The same pipeline may ask again
// until its runner came: what it got before is void then.
func (e *Engine) Join(ctx context.Context, token secret.Secret, j autobuild.Joining) (Answer, error) {
	if err := e.o.Tokens.CheckPipelineToken(ctx, j.AutomatedBuildID, autobuild.TokenHash(token)); err != nil {
		return Answer{}, err
	}
	runners := autobuild.NewToken()
	b, err := e.o.Builds.JoinAttempt(ctx, Name, j, autobuild.TokenHash(runners))
	if err == nil {
		logctx.Log(logctx.Build(ctx, b), e.o.Log).
			WithField("pipeline", j.Pipeline).
			Info("pipeline of the repository's own joined")
		return Answer{BuildID: b.ID, Number: b.Number, Token: runners}, nil
	}
	if !errors.Is(err, autobuild.ErrNotFound) {
		return Answer{}, err
	}
	return e.explain(ctx, j)
}

// explain says why there is nothing to build.
func (e *Engine) explain(ctx context.Context, j autobuild.Joining) (Answer, error) {
	a, err := e.o.Builds.AutomatedBuild(ctx, j.AutomatedBuildID)
	if err != nil {
		return Answer{}, err
	}
	k, err := e.known(ctx, a.Repository, j) // before the builds: a push and its builds become known at once
	if err != nil {
		return Answer{}, err
	}
	builds, err := e.o.Builds.BuildsOf(ctx, j.AutomatedBuildID, j.Ref, j.Commit)
	if err != nil {
		return Answer{}, err
	}
	answer, err := judge(a, j, k, builds)
	if answer.Unsure || errors.Is(err, autobuild.ErrNotFound) {
		if lookErr := e.o.Look(ctx, a.Repository); lookErr != nil {
			logctx.Log(ctx, e.o.Log).WithError(lookErr).Warnf("refs of %s are not looked at", a.Repository.FullName)
		}
	}
	return answer, err
}

// knowledge is what the planner has decided of a ref and a commit.
type knowledge struct {
	isHead bool // the ref is at the commit now
	was    bool // it was at some time
}

func (e *Engine) known(ctx context.Context, r autobuild.Repository, j autobuild.Joining) (knowledge, error) {
	state, err := e.o.Refs.RefState(ctx, r, j.Ref)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return knowledge{}, err
	}
	was, err := e.o.Refs.WasAt(ctx, r, j.Ref, j.Commit)
	return knowledge{isHead: state.Head == j.Commit, was: was}, err
}

// judge says why a pipeline that found no attempt has nothing to build. Pure.
func judge(a autobuild.AutomatedBuild, j autobuild.Joining, k knowledge, builds []autobuild.Build) (Answer, error) {
	what := fmt.Sprintf("%s at %.12s", j.Ref.Full(), j.Commit)
	newest := newestOfRules(builds)
	for _, b := range newest {
		if b.State == autobuild.Queued || b.State == autobuild.Starting {
			return Answer{}, &Refusal{
				strings.TrimSuffix(fmt.Sprintf("build %d of %s is %s: %s", b.Number, what, b.State, b.Detail), ": "),
				autobuild.ErrNotFound,
			}
		}
	}
	for _, b := range newest {
		switch b.State {
		case autobuild.Failed, autobuild.Errored, autobuild.Cancelled:
			return Answer{}, &Refusal{
				fmt.Sprintf(
					"build %d of %s is over, %s (%s): retry it on its page, then run this pipeline again",
					b.Number,
					what,
					b.State,
					b.Reason,
				),
				autobuild.ErrConflict,
			}
		}
	}
	if a.Engine != Name && len(newest) == 0 {
		return Answer{}, &Refusal{
			fmt.Sprintf(
				"the automated build of %s runs on the engine %s: choose %s (%s) on its page, or take this step out",
				a.Repository.FullName,
				a.Engine,
				Name,
				Words,
			),
			autobuild.ErrConflict,
		}
	}
	if !k.isHead && !k.was {
		return Answer{}, &Refusal{
			fmt.Sprintf(
				"no build of %s for %s: its push is not known here; either its webhook did not arrive, or it is none of %s",
				a.Image,
				what,
				a.Repository.FullName,
			),
			autobuild.ErrNotFound,
		}
	}
	return Answer{Reason: told(what, newest), Unsure: !k.isHead}, nil
}

// told says what became of a commit that needs nothing more.
func told(what string, newest []autobuild.Build) string {
	if len(newest) == 0 {
		return "nothing to build of " + what + ": no rule of the automated build builds that push"
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

// newestOfRules keeps the newest build of each rule, oldest first. The builds are newest first.
func newestOfRules(builds []autobuild.Build) []autobuild.Build {
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
