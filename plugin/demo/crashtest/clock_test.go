package crashtest

import (
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/failpoint"
)

// F10: the machine's clock is set back and forward while pushes wait and build. Each push is built at once
// and once, the builds keep their order, and no attempt is lost. The gateway's time zone has daylight
// saving time.
func TestF10AStepOfTheClockDelaysNoPush(t *testing.T) {
	t.Parallel()
	clock := failpoint.NewClock(t.TempDir())
	env := demotest.StartSignedIn(t, onSQLite(t, clock.Environment(), "TZ=Europe/Berlin"))
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	for i, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute, -70 * time.Minute} {
		running := "running before " + skew.String()
		runningCommit := p.Commit(running, env.Dockerfile(running, "RUN sleep 1"))
		p.Push("main")
		p.WaitNewest(2*i+1, autobuild.Running)
		next := "after " + skew.String()
		commit := p.Commit(next, env.Dockerfile(next))
		p.Push("main")
		p.WaitNewest(2*i+2, autobuild.Queued, autobuild.Starting, autobuild.Running)
		env.Must(clock.Set(skew))
		b := checkBuilt(p, 2*i+2, commit, next)
		if b.Attempt != 1 {
			t.Errorf("attempts of %s: got %d, want 1", next, b.Attempt)
		}
		p.CheckOneSuccess(runningCommit)
	}
	builds := p.WaitAll(6)
	for i, b := range builds[1:] {
		if !b.CreatedAt.After(builds[i].CreatedAt) {
			t.Errorf("time of build %d: got %s, want a time after %s", b.Number, b.CreatedAt, builds[i].CreatedAt)
		}
		if b.Attempt != 1 {
			t.Errorf("attempts of build %d: got %d, want 1", b.Number, b.Attempt)
		}
	}
}
