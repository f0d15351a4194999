package watcher

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// errOtherGateway means that another gateway, which is alive, runs the pipeline.
var errOtherGateway = errors.New("another gateway runs it")

// Peers are the gateways that share a database. The leader checks every attempt. The others check the
// attempts of their own local engines, and those for which a CI sent a notification.
type Peers interface {
	// ID returns the id of this gateway.
	ID() string
	IsLeader() bool
	// Alive reports whether the gateway with an id is running.
	Alive(ctx context.Context, gateway string) (bool, error)
}

// singleGateway is the only gateway of its database.
type singleGateway struct{}

func (singleGateway) ID() string                                  { return "" }
func (singleGateway) IsLeader() bool                              { return true }
func (singleGateway) Alive(context.Context, string) (bool, error) { return false, nil }

// isResponsible reports whether this gateway checks an attempt without a notification. The leader also
// checks the attempts of other gateways, because those may have stopped.
func (w *Watcher) isResponsible(a autobuild.Attempt) bool {
	return w.o.Peers.IsLeader() || w.o.Local[a.Engine] && a.Gateway == w.o.Peers.ID()
}

// interrupted reports whether an attempt's pipeline ended because its gateway stopped.
func (w *Watcher) interrupted(a autobuild.Attempt) bool {
	return w.o.Local[a.Engine] && (a.Gateway != w.o.Peers.ID() || a.CreatedAt.Before(w.o.StartedAt))
}

// pipeline returns the engine's status of an attempt's pipeline. It is PipelineGone if the engine is not
// configured any more, or if the gateway of a local engine has stopped. errOtherGateway = that gateway
// is alive, and only it knows the state.
func (w *Watcher) pipeline(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineStatus, error) {
	engine, ok := w.o.Engines[a.Engine]
	if !ok {
		return autobuild.PipelineStatus{State: autobuild.PipelineGone}, nil
	}
	if w.o.Local[a.Engine] && a.Gateway != w.o.Peers.ID() {
		return w.pipelineOfPeer(ctx, a)
	}
	return engine.State(ctx, a)
}

// pipelineOfPeer returns the state of a pipeline that runs in another gateway.
func (w *Watcher) pipelineOfPeer(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineStatus, error) {
	alive, err := w.o.Peers.Alive(ctx, a.Gateway)
	switch {
	case err != nil:
		return autobuild.PipelineStatus{}, fmt.Errorf("find the gateway of attempt %d: %w", a.Number, err)
	case alive:
		return autobuild.PipelineStatus{}, errOtherGateway
	}
	return autobuild.PipelineStatus{State: autobuild.PipelineGone}, nil
}
