// Package inrepo is the engine "own": a step in the repository's own pipeline builds. The engine
// starts nothing. The push that created the build also starts the pipeline on the CI, and its step
// requests a build (RequestBuild). Rules, statuses and the rest are as with the other engines.
package inrepo

import (
	"context"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
)

const (
	// Name identifies this engine in automated builds and attempts.
	Name = "own"
	// Words describes this engine on pages and in messages.
	Words = "a step in the repository's own pipeline"
)

// claimTime is how long the runner of a bound pipeline may take to claim its attempt, which
// normally takes a second. After this time the build gets a new attempt, open to any pipeline.
const claimTime = 5 * time.Minute

// Tokens checks the long-lived tokens of automated builds. *store.Store implements it.
type Tokens interface {
	// CheckPipelineToken returns ErrUnauthorized unless tokenHash (autobuild.TokenHash) belongs to
	// the automated build's token.
	CheckPipelineToken(ctx context.Context, automatedBuildID, tokenHash string) error
}

// Builds reads builds and binds pipelines to them. *store.Store implements it.
type Builds interface {
	AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error)
	// BindPipeline binds the oldest waiting attempt to the pipeline that requests one, and
	// replaces the attempt's token. The same pipeline may repeat the request until its runner
	// claims the attempt. BindPipeline returns ErrNotFound if no attempt waits.
	BindPipeline(
		ctx context.Context, engine string, r autobuild.PipelineRequest, tokenHash string,
	) (autobuild.Build, error)
	// BuildsOf lists the builds of a commit of a ref, newest first.
	BuildsOf(ctx context.Context, automatedBuildID string, ref autobuild.Ref, commit string) ([]autobuild.Build, error)
}

// Refs reads the state of refs as the planner recorded it. *store.Store implements it.
type Refs interface {
	// RefState returns the last accepted head. It returns ErrNotFound for an unknown ref.
	RefState(ctx context.Context, r autobuild.Repository, ref autobuild.Ref) (autobuild.RefState, error)
	// HasTransitionTo reports whether a transition of the ref led to the commit.
	HasTransitionTo(ctx context.Context, r autobuild.Repository, ref autobuild.Ref, commit string) (bool, error)
}

// A Poller schedules polls of repositories.
type Poller interface {
	// PollSoon schedules a poll of the refs of a repository. The engine requests one if a push is
	// unknown, because its webhook may be late or lost.
	PollSoon(ctx context.Context, r autobuild.Repository) error
}

// Options configure an Engine. Wait and Now are optional.
type Options struct {
	Tokens Tokens
	Builds Builds
	Refs   Refs
	Poller Poller
	Wait   time.Duration    // how long an attempt waits for a pipeline; 0 = 1 h
	Now    func() time.Time // nil = time.Now
	Log    logrus.FieldLogger
}

// An Engine has no state of its own; everything is in the store. It is safe for concurrent use.
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

// Start starts nothing. The attempt waits for a pipeline, which RequestBuild binds to it.
func (e *Engine) Start(context.Context, autobuild.Pipeline) (string, error) { return "", nil }

// Cancel does nothing, because the runner learns of the cancellation from the gateway.
func (e *Engine) Cancel(context.Context, autobuild.Attempt) error { return nil }

// State derives the state from the attempt's times. The watcher ends an attempt whose runner
// stopped reporting.
func (e *Engine) State(_ context.Context, a autobuild.Attempt) (autobuild.PipelineStatus, error) {
	return autobuild.PipelineStatus{State: e.stateOf(a)}, nil
}

func (e *Engine) stateOf(a autobuild.Attempt) autobuild.PipelineState {
	now := e.o.Now()
	switch {
	case a.State == autobuild.Running:
		return autobuild.PipelineRunning
	case a.EngineRef != "" && now.Sub(a.HeartbeatAt) > claimTime:
		return autobuild.PipelineGone
	case a.EngineRef == "" && now.Sub(a.CreatedAt) > e.o.Wait:
		return autobuild.PipelineMissing
	}
	return autobuild.PipelineQueued
}

// Advice returns what to check if no pipeline requested the build.
func (e *Engine) Advice(autobuild.Attempt) string {
	return fmt.Sprintf(
		"no pipeline of the repository requested the build within %s: check that its CI ran one for this commit, "+
			"that the pipeline has the step with this automated build's id, and that nothing skips the step; "+
			"then retry the build and run the pipeline again",
		e.o.Wait,
	)
}
