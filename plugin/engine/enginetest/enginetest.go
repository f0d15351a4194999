// Package enginetest is the conformance suite of engines. It runs the whole loop, from a
// real push to the commit's status, in worlds whose gateway uses the engine, and asks the
// engine alone what only it can be asked.
package enginetest

import (
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
)

// A Factory says how the suite is run on one engine.
type Factory struct {
	// World returns how a world uses the engine, and its CI, where it has one. The suite adds
	// settings of its own.
	World func(t testing.TB) (world.Options, *CI)
	// Limit is the setting of how many builds run at once.
	Limit string
	// Alone returns the engine without a gateway, and a pipeline that it may start; its runner
	// is to ask for its work at url/{build id}.
	Alone func(t testing.TB, url string) (autobuild.Engine, autobuild.Pipeline)
	// Slow is how much longer than others this engine takes to begin.
	Slow time.Duration
	// Brief leaves out what does not depend on which repository runs a pipeline, for a further
	// way on a CI that is run whole elsewhere.
	Brief bool
}

// shortTime is how long builds may take in the world with little time, on an engine that
// begins at once.
const shortTime = 15 * time.Second

// Run runs every case. A first world has room for many builds, which run beside each
// other; a second one has a single place, and a third one little time for each build: a case
// that holds the place must not race with its holder's time.
func Run(t *testing.T, f Factory) {
	t.Run("start twice", f.startTwice)
	t.Run("many places", f.manyPlaces)
	t.Run("one place", f.onePlace)
	if !f.Brief {
		t.Run("little time", f.littleTime)
	}
}

func (f Factory) manyPlaces(t *testing.T) {
	h, ci := f.open(t, f.Limit+"=8")
	var kept transcript
	together := map[string]func(*worldtest.House){"success": success, "failure": failure, "tag": tagBuild, "one push": onePush}
	if !f.Brief {
		together["lost runner"] = lostRunner
		together["live log"] = func(h *worldtest.House) { kept = liveLog(h) }
	}
	t.Run("together", func(t *testing.T) {
		for name, try := range together {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				try(h.For(t))
			})
		}
	})
	if !f.Brief {
		t.Run("log after a restart", func(t *testing.T) { logAfterRestart(h.For(t), kept) })
	}
	if ci != nil {
		f.trouble(t, h, ci)
	}
}

// trouble is what goes wrong between the gateway and a CI, and what people do on a CI.
func (f Factory) trouble(t *testing.T, h *worldtest.House, ci *CI) {
	if !f.Brief {
		t.Run("gateway restarted", func(t *testing.T) { gatewayRestarted(h.For(t)) })
		t.Run("CI down", func(t *testing.T) { ci.down(h.For(t)) })
		t.Run("dies before its runner speaks", func(t *testing.T) { ci.diesBefore(h.For(t)) })
		t.Run("doctor finds", func(t *testing.T) { ci.doctorFinds(h.For(t)) })
	}
	t.Run("answer lost", func(t *testing.T) { ci.answerLost(h.For(t)) })
	t.Run("cancel what the CI has not begun", func(t *testing.T) { ci.cancelUnbegun(h.For(t)) })
	t.Run("doctor", func(t *testing.T) { ci.doctor(h.For(t)) })
	if ci.Own != nil {
		t.Run("its own pipeline", func(t *testing.T) { ci.ownPipeline(h.For(t)) })
		t.Run("a step of its own", func(t *testing.T) { ci.ownStep(h.For(t)) })
		t.Run("a step alone", func(t *testing.T) { ci.stepAlone(h.For(t)) })
	}
}

func (f Factory) onePlace(t *testing.T) {
	h, _ := f.open(t, f.Limit+"=1")
	t.Run("branch moved while queued", func(t *testing.T) { branchMoved(h.For(t)) })
	t.Run("branch deleted while queued", func(t *testing.T) { branchDeleted(h.For(t)) })
	if f.Brief {
		return
	}
	t.Run("cancel queued", func(t *testing.T) { cancelQueued(h.For(t)) })
	t.Run("cancel running", func(t *testing.T) { cancelRunning(h.For(t)) })
}

func (f Factory) littleTime(t *testing.T) {
	h, ci := f.open(t, "SLIPWAY_BUILD_TIMEOUT="+(shortTime+f.Slow).String())
	t.Run("time-out", func(t *testing.T) { f.timeOut(h.For(t)) })
	if ci != nil {
		t.Run("CI never tells the end", func(t *testing.T) { ci.endNeverTold(h.For(t)) })
	}
}

// open starts a world on the engine.
func (f Factory) open(t *testing.T, settings ...string) (*worldtest.House, *CI) {
	o, ci := f.World(t)
	o.Environment = append(o.Environment, settings...)
	return worldtest.Open(t, o), ci
}
