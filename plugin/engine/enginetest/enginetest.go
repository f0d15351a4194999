// Package enginetest is the conformance suite of engines. It tests the whole path, from a real push
// to the commit's status, in environments whose gateway uses the engine. It also tests the engine without
// a gateway.
package enginetest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
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
	// Parallel runs the environments at the same time. It is for fake CIs, whose cases mostly wait.
	Parallel bool
}

// parallel returns the number of environments and cases that run at once with Factory.Parallel. They mostly wait,
// so it is more than the cores.
func parallel() int { return min(6, 2*runtime.GOMAXPROCS(0)) }

// Main runs the tests of an engine as demotest.Main does, with room for Factory.Parallel. Call it from
// TestMain.
func Main(m *testing.M) {
	if err := flag.Set(
		"test.parallel",
		strconv.Itoa(parallel()),
	); err != nil { // before the command line, which may change it
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	demotest.Main(m)
}

// shortTime is the build timeout in the environment with short timeouts. Factory.Slow is added to it. A real build
// must end in it while other environments build.
const shortTime = 20 * time.Second

// Run runs all cases, in environments that differ in their limits. The first has room for many
// concurrent builds, and so has the one for builds that the CI ends. Another runs one build at a time. Two have
// a short timeout for each build. They are separate environments so that a case that occupies the only place
// cannot be ended by the timeout.
func Run(t *testing.T, f Factory) {
	t.Run("start twice", f.startTwice)
	for _, group := range []struct {
		name  string
		run   func(t *testing.T)
		brief bool // part of a brief run
	}{
		{"many places", f.manyPlaces, true},
		{"ended by the CI", f.endedByCI, false},
		{"one place", f.onePlace, true},
		{"little time", f.littleTime, false},
		{"little time in the queue", f.littleQueueTime, false},
	} {
		if f.Brief && !group.brief {
			continue
		}
		t.Run(group.name, func(t *testing.T) {
			if f.Parallel {
				t.Parallel()
			}
			group.run(t)
		})
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
	env, ci := f.open(t, f.shortTimes()...)
	t.Run("time-out", func(t *testing.T) { f.timeOut(env.For(t)) })
	if ci != nil {
		t.Run("CI does not report the end", func(t *testing.T) { ci.endNotReported(env.For(t)) })
		t.Run("queued longer than a build", func(t *testing.T) { f.queuedLonger(ci, longer(t, env.For(t))) })
	}
}

// littleQueueTime runs the case that occupies the CI's queue for the whole queue timeout.
func (f Factory) littleQueueTime(t *testing.T) {
	if !f.hasCI(t) {
		return
	}
	env, ci := f.open(t, f.shortTimes()...)
	t.Run("never taken", func(t *testing.T) { f.neverTaken(ci, longer(t, env.For(t))) })
}

// endedByCI runs the cases about pipelines that the CI or a person ends.
func (f Factory) endedByCI(t *testing.T) {
	if !f.hasCI(t) {
		return
	}
	env, ci := f.open(t, f.Limit+"=8")
	ci.runEndCases(t, env)
}

// shortTimes returns the settings of an environment with short timeouts.
func (f Factory) shortTimes() []string {
	return []string{
		"SLIPWAY_BUILD_TIMEOUT=" + (shortTime + f.Slow).String(), "SLIPWAY_QUEUE_TIMEOUT=" + f.queueTime().String(),
	}
}

// hasCI reports whether the engine runs builds on a CI.
func (f Factory) hasCI(t *testing.T) bool {
	_, ci := f.Env(t)
	return ci != nil
}

// open starts an environment on the engine.
func (f Factory) open(t *testing.T, settings ...string) (*demotest.Env, *CI) {
	o, ci := f.Env(t)
	o.Environment = append(o.Environment, settings...)
	return demotest.StartSignedIn(t, o), ci
}
