// Package enginetest is the conformance suite of engines. It runs the whole loop, from a
// real push to the commit's status, in worlds whose gateway uses the engine, and asks the
// engine alone what only it can be asked.
package enginetest

import (
	"context"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
)

// A Factory says how the suite is run on one engine.
type Factory struct {
	// World returns how a world uses the engine. The suite adds settings of its own.
	World func(t testing.TB) world.Options
	// Engine returns the engine by itself, for a gateway that is not there.
	Engine func(t testing.TB) autobuild.Engine
	// KillRunner kills the runner of an attempt without a word to anybody, as a crash would.
	KillRunner func(ctx context.Context, w *world.World, a autobuild.Attempt) error
}

// shortTime is how long builds may take in the world with one place.
const shortTime = 15 * time.Second

// Run runs every case. A first world has room for many builds, which run beside each
// other; a second one has a single place, and little time for each build.
func Run(t *testing.T, f Factory) {
	t.Run("start twice", f.startTwice)
	t.Run("many places", f.manyPlaces)
	t.Run("one place", f.onePlace)
}

func (f Factory) manyPlaces(t *testing.T) {
	h := f.open(t, "SLIPWAY_CONCURRENCY=8")
	var kept transcript
	t.Run("together", func(t *testing.T) {
		for name, try := range map[string]func(*worldtest.House){
			"success": success, "failure": failure, "tag": tagBuild, "lost runner": f.lostRunner,
			"live log": func(h *worldtest.House) { kept = liveLog(h) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				try(h.For(t))
			})
		}
	})
	t.Run("log after a restart", func(t *testing.T) { logAfterRestart(h.For(t), kept) })
}

func (f Factory) onePlace(t *testing.T) {
	h := f.open(t, "SLIPWAY_CONCURRENCY=1", "SLIPWAY_BUILD_TIMEOUT="+shortTime.String())
	t.Run("cancel queued", func(t *testing.T) { cancelQueued(h.For(t)) })
	t.Run("cancel running", func(t *testing.T) { cancelRunning(h.For(t)) })
	t.Run("branch moved while queued", func(t *testing.T) { branchMoved(h.For(t)) })
	t.Run("branch deleted while queued", func(t *testing.T) { branchDeleted(h.For(t)) })
	t.Run("time-out", func(t *testing.T) { timeOut(h.For(t)) })
}

// open starts a world on the engine.
func (f Factory) open(t *testing.T, settings ...string) *worldtest.House {
	o := f.World(t)
	o.Environment = append(o.Environment, settings...)
	return worldtest.Open(t, o)
}
