// Package own is the engine of automated builds that a step in the repository's own pipeline
// builds. It starts nothing: the same push that made the build starts the pipeline on the CI,
// whose step then asks for what there is to build (Join). All else, from the rules to the
// status, is as on the other engines.
package own

import (
	"context"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

// Name is what automated builds call this engine, and Words what it is, for people.
const (
	Name  = "own"
	Words = "a step in the repository's own pipeline"
)

// claimTime is how long a pipeline that has an attempt may take until its runner claims it,
// which is a second's work. After it a further attempt is for any pipeline.
const claimTime = 5 * time.Minute

// Tokens knows the long-lived tokens of automated builds. The store implements it.
type Tokens interface {
	// CheckPipelineToken returns ErrUnauthorized for what is not the automated build's token.
	// The hash is autobuild.TokenHash.
	CheckPipelineToken(ctx context.Context, automatedBuildID, tokenHash string) error
}

// Builds is what there is to build, and what is known of it. The store implements it.
type Builds interface {
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	// JoinAttempt binds the oldest attempt that waits for a pipeline to the one that asks, and
	// makes tokenHash its token; the same pipeline may ask again until its runner came.
	// ErrNotFound when there is none.
	JoinAttempt(ctx context.Context, engine string, j autobuild.Joining, tokenHash string) (autobuild.Build, error)
	// BuildsOf lists the builds of a commit of a ref, newest first.
	BuildsOf(ctx context.Context, automatedBuildID string, ref autobuild.Ref, commit string) ([]autobuild.Build, error)
}

// Refs is where refs are and were, as far as the planner has decided it. The store implements it.
type Refs interface {
	// RefState returns the last accepted head; ErrNotFound when the ref was never seen.
	RefState(ctx context.Context, r autobuild.Repository, ref autobuild.Ref) (autobuild.RefState, error)
	// WasAt reports whether a transition of the ref led to the commit.
	WasAt(ctx context.Context, r autobuild.Repository, ref autobuild.Ref, commit string) (bool, error)
}

// Options make an Engine. Tokens, Builds, Refs, Look and Log are required.
type Options struct {
	Tokens Tokens
	Builds Builds
	Refs   Refs
	// Look has the refs of a repository looked at soon, for a push whose webhook is late or lost.
	Look func(ctx context.Context, r autobuild.Repository) error
	Wait time.Duration    // how long an attempt waits for its pipeline; default 1 h
	Now  func() time.Time // nil = time.Now
	Log  logrus.FieldLogger
}

// An Engine keeps nothing: all it knows is in the store. It is safe for concurrent use.
type Engine struct{ o Options }

var (
	_ autobuild.Engine         = (*Engine)(nil)
	_ autobuild.PipelineAdvice = (*Engine)(nil)
)

// New returns an Engine.
func New(o Options) *Engine {
	if o.Wait == 0 {
		o.Wait = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Engine{o: o}
}

// Start starts nothing: the attempt stands ready for a pipeline to join it, which gives it its
// name and its token.
func (e *Engine) Start(context.Context, autobuild.Pipeline) (string, error) { return "", nil }

// Cancel has nobody to tell: the runner hears of it from the gateway.
func (e *Engine) Cancel(context.Context, autobuild.Attempt) error { return nil }

// State tells from times alone. A runner that came and went silent is the watcher's to give up.
func (e *Engine) State(_ context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	now := e.o.Now()
	switch {
	case a.State == autobuild.Running:
		return autobuild.PipelineRunning, nil
	case a.EngineRef != "" && now.Sub(a.HeartbeatAt) > claimTime:
		return autobuild.PipelineGone, nil
	case a.EngineRef == "" && now.Sub(a.CreatedAt) > e.o.Wait:
		return autobuild.PipelineMissing, nil
	}
	return autobuild.PipelineQueued, nil
}

// Advice says what to check when no pipeline came.
func (e *Engine) Advice(autobuild.Attempt) string {
	return fmt.Sprintf(
		"no pipeline of the repository's own asked for it within %s: check that its CI ran one for this commit, "+
			"that the pipeline has the step with this automated build's id, and that nothing skips the step; then retry the build and run the pipeline again",
		e.o.Wait,
	)
}
