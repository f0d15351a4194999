package enginetest

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// ciTime bounds a case that waits for a CI's timeout of a minute, until a poll finds its end.
const ciTime = 4 * time.Minute

// runEndCases runs the cases about pipelines that the CI or a person ends.
func (c *CI) runEndCases(t *testing.T, env *demotest.Env) {
	t.Run("CI's timeout", func(t *testing.T) { c.ciTimeOut(longer(t, env.For(t))) })
	t.Run("agent restarted", func(t *testing.T) { c.agentRestarted(longer(t, env.For(t))) })
	t.Run("canceled by a person on the CI", func(t *testing.T) { c.canceledByPerson(env.For(t)) })
	t.Run("queued without an agent", func(t *testing.T) { c.queuedWithoutAgent(longer(t, env.For(t))) })
}

// longer returns an environment whose context ends after ciTime.
func longer(t *testing.T, env *demotest.Env) *demotest.Env {
	ctx, cancel := context.WithTimeout(t.Context(), ciTime)
	t.Cleanup(cancel)
	env.Context = ctx
	return env
}

// pipelineOf returns the CI repository and the number of the pipeline of a build's newest attempt.
func pipelineOf(env *demotest.Env, b autobuild.Build) (repository string, number int64) {
	env.T.Helper()
	store, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer store.Close()
	a, err := store.Attempt(env.Context, b.ID, b.Attempt)
	env.Must(err)
	repository, digits, _ := strings.Cut(a.EngineRef, "#")
	number, err = strconv.ParseInt(digits, 10, 64)
	env.Must(err)
	return repository, number
}

// ciTimeOut: the CI ends a pipeline at the timeout of its repository. The build ends in error, is not
// started again, and names both limits and the fix.
func (c *CI) ciTimeOut(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Quick", env.Dockerfile("quick"))
	p.Push("main")
	repository, _ := pipelineOf(env, p.WaitEnd(1, autobuild.Succeeded)) // the CI knows the repository now
	env.Must(c.SetTimeout(env.Context, repository, 1))
	p.Commit("Slow", env.Dockerfile(env.T.Name(), slow))
	p.Push("main")
	b := p.WaitEnd(2, autobuild.Errored)
	env.Must(c.SetTimeout(env.Context, repository, 300))
	if b.Reason != autobuild.ReasonTimeout {
		env.T.Errorf("got reason %s, want %s", b.Reason, autobuild.ReasonTimeout)
	}
	if b.Attempt != 1 {
		env.T.Errorf("got attempt %d, want 1", b.Attempt)
	}
	for _, want := range []string{repository, ", 1 minute;", "SLIPWAY_BUILD_TIMEOUT", " to 245 minutes"} {
		if !strings.Contains(b.Detail, want) {
			env.T.Errorf("got detail %q, want it with %q", b.Detail, want)
		}
	}
	p.CheckOneEnd(b.Commit.Hash)
}

// agentRestarted: an agent that gets SIGTERM ends its pipelines. The build loses an attempt, and the next
// one succeeds. The log of the first attempt names the cause. If the agents of the CI finish their
// pipelines first, the first attempt succeeds.
func (c *CI) agentRestarted(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Slow", env.Dockerfile(env.T.Name(), "RUN sleep 8"))
	p.Push("main")
	p.WaitNewest(1, autobuild.Running)
	env.Must(c.RestartAgents(env.Context))
	b := p.WaitEnd(1, autobuild.Succeeded)
	p.CheckOneEnd(commit)
	want := 2
	if c.Drains {
		want = 1
	}
	if b.Attempt != want {
		env.T.Errorf("got attempt %d, want %d", b.Attempt, want)
	}
	if c.Drains {
		return
	}
	log, err := env.Browser.Log(env.Context, b, 1, 0)
	env.Must(err)
	if want := "that ran the pipeline was stopped or restarted"; !strings.Contains(log, want) {
		env.T.Errorf("log of attempt 1: got no %q, want it:\n%s", want, log)
	}
}

// canceledByPerson: a person cancels a running pipeline on the CI. The build is canceled, and is not
// started again.
func (c *CI) canceledByPerson(env *demotest.Env) {
	p, b := occupy(env)
	repository, number := pipelineOf(env, b)
	env.Must(c.CancelAsPerson(env.Context, repository, number))
	b = p.WaitEnd(1, autobuild.Cancelled)
	if b.Reason != autobuild.ReasonUser {
		env.T.Errorf("got reason %s, want %s", b.Reason, autobuild.ReasonUser)
	}
	if b.Attempt != 1 {
		env.T.Errorf("got attempt %d, want 1", b.Attempt)
	}
	if !strings.HasPrefix(b.Detail, "canceled on ") {
		env.T.Errorf("got detail %q, want that it was canceled on the CI", b.Detail)
	}
	p.CheckOneEnd(b.Commit.Hash)
}

// queuedWithoutAgent: while no agent takes a pipeline, its build's page shows why it waits.
func (c *CI) queuedWithoutAgent(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Wait", env.Dockerfile("waited"))
	c.Hold()
	p.Push("main")
	env.WaitUntil("the page shows that no agent has taken it", func() (bool, error) {
		b, err := p.Builds(env.Context)
		return len(b) == 1 && b[0].State == autobuild.Starting &&
			strings.Contains(b[0].Detail, "no agent has taken pipeline"), err
	})
	c.Release()
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.Detail != "" {
		env.T.Errorf("got detail %q, want none", b.Detail)
	}
	p.CheckImage("latest", b, "waited")
}

// queueTime returns SLIPWAY_QUEUE_TIMEOUT in the environment with short timeouts. It is longer than the
// build timeout.
func (f Factory) queueTime() time.Duration { return 2*(shortTime+f.Slow) + 10*time.Second }

// queuedLonger: the time in the CI's queue does not count as time of the build.
func (f Factory) queuedLonger(c *CI, env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Wait", env.Dockerfile("waited"))
	c.Hold()
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Starting)
	env.WaitUntil("the build's own time would be over", func() (bool, error) {
		return time.Since(b.CreatedAt) > shortTime+f.Slow+2*time.Second, nil
	})
	c.Release()
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "waited")
}

// neverTaken: a pipeline that no agent takes has a limit of its own, and then its build ends in error.
func (f Factory) neverTaken(c *CI, env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Wait", env.Dockerfile("never"))
	c.Hold()
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Errored)
	c.Release()
	if b.Reason != autobuild.ReasonInfrastructure {
		env.T.Errorf("got reason %s, want %s", b.Reason, autobuild.ReasonInfrastructure)
	}
	for _, want := range []string{"no runner started for pipeline", f.queueTime().String(), "SLIPWAY_QUEUE_TIMEOUT"} {
		if !strings.Contains(b.Detail, want) {
			env.T.Errorf("got detail %q, want it with %q", b.Detail, want)
		}
	}
	if took := b.FinishedAt.Sub(b.CreatedAt); took < f.queueTime() {
		env.T.Errorf("duration: got %s, want at least %s", took, f.queueTime())
	}
}

// fixSettings: the page of the engines shows that the CI's limit is shorter than ours, and its button
// changes the builder repository.
func (c *CI) fixSettings(env *demotest.Env) {
	page := env.Gateway.URL + "/settings/engines?look=" + c.Engine
	const short = "has a timeout of 60 minutes"
	env.WaitUntil("the builder repository is active", func() (bool, error) {
		err := env.Browser.Visit(env.Context, page)
		return err == nil && !env.Browser.Contains("is not active"), err
	})
	if !env.Browser.Contains(short) {
		env.T.Fatalf("engines: got no %q, want it: %s", short, env.Browser.Text())
	}
	env.Must(env.Browser.Submit(env.Context, "/settings/engines/"+c.Engine+"/fix", nil))
	env.Must(env.Browser.Visit(env.Context, page))
	if env.Browser.Contains(short) {
		env.T.Errorf("engines after the fix: got %q, want it changed", short)
	}
	for _, want := range c.Inspected {
		if !env.Browser.Contains(want) {
			env.T.Errorf("engines after the fix: got no %q, want it: %s", want, env.Browser.Text())
		}
	}
}
