// Package enginetest is the conformance suite of engines. It tests the whole path, from a real push
// to the commit's status, in environments whose gateway uses the engine. It also tests the engine without
// a gateway.
package enginetest

import (
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// A Factory describes how to run the suite on one engine.
type Factory struct {
	// Env returns the options of an environment that uses the engine, and its CI or nil. The suite adds
	// its own settings.
	Env func(t testing.TB) (localenv.Options, *CI)
	// Limit is the name of the setting for the number of builds that run at once.
	Limit string
	// Alone returns the engine without a gateway, and a pipeline for it to start. The runner must
	// claim its work at url/{build id}.
	Alone func(t testing.TB, url string) (autobuild.Engine, autobuild.Pipeline)
	// Slow is how much longer than other engines this one takes to start a pipeline.
	Slow time.Duration
	// Builder means that a builder repository runs all pipelines.
	Builder bool
	// Brief omits the cases that do not depend on the repository that runs a pipeline. It is for
	// the second configuration of a CI whose first one runs the whole suite.
	Brief bool
}

// shortTime is the build timeout in the environment with short timeouts. Factory.Slow is added to it.
const shortTime = 15 * time.Second

// Run runs all cases in three environments. The first has room for many concurrent builds. The second
// runs one build at a time. The third has a short timeout for each build. It is a separate environment so
// that a case that occupies the only place cannot be ended by the timeout.
func Run(t *testing.T, f Factory) {
	t.Run("start twice", f.startTwice)
	t.Run("many places", f.manyPlaces)
	t.Run("one place", f.onePlace)
	if !f.Brief {
		t.Run("little time", f.littleTime)
	}
}

func (f Factory) manyPlaces(t *testing.T) {
	env, ci := f.open(t, f.Limit+"=8")
	var kept transcript
	together := map[string]func(*demotest.Env){
		"success":      success,
		"failure":      failure,
		"tag":          tagBuild,
		"F19 one push": onePush,
	}
	if !f.Brief {
		together["lost runner"] = lostRunner
		together["live log"] = func(env *demotest.Env) { kept = liveLog(env) }
	}
	t.Run("together", func(t *testing.T) {
		for name, try := range together {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				try(env.For(t))
			})
		}
	})
	if !f.Brief {
		t.Run("log after a restart", func(t *testing.T) { logAfterRestart(env.For(t), kept) })
	}
	if ci != nil {
		f.runCICases(t, env, ci)
	}
}

// runCICases runs the cases about errors between the gateway and a CI, and about users' actions on a
// CI.
func (f Factory) runCICases(t *testing.T, env *demotest.Env, ci *CI) {
	if f.Builder {
		t.Run("settings of the builder repository", func(t *testing.T) { ci.fixSettings(env.For(t)) })
	}
	if !f.Brief {
		t.Run("gateway restarted", func(t *testing.T) { gatewayRestarted(env.For(t)) })
		t.Run("F13 CI down", func(t *testing.T) { ci.unreachable(env.For(t)) })
		t.Run("ends before its runner starts", func(t *testing.T) { ci.endsBeforeRunner(env.For(t)) })
		t.Run("doctor finds", func(t *testing.T) { ci.doctorFinds(env.For(t)) })
		ci.runEndCases(t, env)
	}
	t.Run("F14 response lost", func(t *testing.T) { ci.responseLost(env.For(t)) })
	t.Run("cancel before the CI starts it", func(t *testing.T) { ci.cancelUnstarted(env.For(t)) })
	t.Run("doctor", func(t *testing.T) { ci.doctor(env.For(t)) })
	if ci.Own != nil {
		t.Run("its own pipeline", func(t *testing.T) { ci.ownPipeline(env.For(t)) })
		t.Run("a step of its own", func(t *testing.T) { ci.ownStep(env.For(t)) })
		t.Run("a step alone", func(t *testing.T) { ci.stepAlone(env.For(t)) })
	}
}

func (f Factory) onePlace(t *testing.T) {
	env, _ := f.open(t, f.Limit+"=1")
	t.Run("branch moved while queued", func(t *testing.T) { branchMoved(env.For(t)) })
	t.Run("branch deleted while queued", func(t *testing.T) { branchDeleted(env.For(t)) })
	if f.Brief {
		return
	}
	t.Run("cancel queued", func(t *testing.T) { cancelQueued(env.For(t)) })
	t.Run("cancel running", func(t *testing.T) { cancelRunning(env.For(t)) })
}

func (f Factory) littleTime(t *testing.T) {
	env, ci := f.open(
		t, "SLIPWAY_BUILD_TIMEOUT="+(shortTime+f.Slow).String(), "SLIPWAY_QUEUE_TIMEOUT="+f.queueTime().String(),
	)
	t.Run("time-out", func(t *testing.T) { f.timeOut(env.For(t)) })
	if ci != nil {
		t.Run("CI does not report the end", func(t *testing.T) { ci.endNotReported(env.For(t)) })
		t.Run("queued longer than a build", func(t *testing.T) { f.queuedLonger(ci, longer(t, env.For(t))) })
		t.Run("never taken", func(t *testing.T) { f.neverTaken(ci, longer(t, env.For(t))) })
	}
}

// open starts an environment on the engine.
func (f Factory) open(t *testing.T, settings ...string) (*demotest.Env, *CI) {
	o, ci := f.Env(t)
	o.Environment = append(o.Environment, settings...)
	return demotest.StartSignedIn(t, o), ci
}
