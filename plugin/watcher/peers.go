package watcher

import (
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// errElsewhere says that only another gateway, which is there, can tell.
var errElsewhere = errors.New("another gateway runs it")

// Peers are the gateways that share a database. One leads: it looks at every attempt, the
// others at what their own engines run and at what a CI told them of.
type Peers interface {
	ID() string
	IsLeader() bool
	Alive(ctx context.Context, gateway string) (bool, error)
}

// alone is the one gateway of its database.
type alone struct{}

func (alone) ID() string                                  { return "" }
func (alone) IsLeader() bool                              { return true }
func (alone) Alive(context.Context, string) (bool, error) { return false, nil }

// ours reports whether this gateway looks at an attempt that nobody told of. What another one
// runs, the leader looks at too: that gateway may be gone.
func (w *Watcher) ours(a autobuild.Attempt) bool {
	return w.o.Peers.IsLeader() || w.o.Local[a.Engine] && a.Gateway == w.o.Peers.ID()
}

// interrupted reports whether an attempt's pipeline ended with the process that ran it.
func (w *Watcher) interrupted(a autobuild.Attempt) bool {
	return w.o.Local[a.Engine] && (a.Gateway != w.o.Peers.ID() || a.CreatedAt.Before(w.o.StartedAt))
}

// pipeline asks the engine. One that is no longer configured has no pipelines, nor has one whose
// gateway is gone; errElsewhere when only that gateway can tell.
func (w *Watcher) pipeline(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	engine, ok := w.o.Engines[a.Engine]
	if !ok {
		return autobuild.PipelineGone, nil
	}
	if w.o.Local[a.Engine] && a.Gateway != w.o.Peers.ID() {
		return w.pipelineElsewhere(ctx, a)
	}
	return engine.State(ctx, a)
}

func (w *Watcher) pipelineElsewhere(ctx context.Context, a autobuild.Attempt) (autobuild.PipelineState, error) {
	alive, err := w.o.Peers.Alive(ctx, a.Gateway)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for the gateway of attempt %d: %w", a.Number, err)
	case alive:
		return "", errElsewhere
	}
	return autobuild.PipelineGone, nil
}
