package crashtest

import (
	"net/http"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/store/storetest"
)

// outage returns how long PostgreSQL is down at least. The gateway refuses a delivery after 8 s.
func outage() time.Duration {
	if isLong() {
		return 2 * time.Minute
	}
	return time.Second
}

// F8: PostgreSQL is down for long. Pushes are refused, and the gateway reports that it is not ready. When
// PostgreSQL is back, the gateway works without a restart: a running build ends, and the push that was
// refused is built once.
func TestF8ADatabaseThatIsDownForLongLosesNoPush(t *testing.T) {
	t.Parallel()
	o := onPostgres(t, "SLIPWAY_RECONCILE_INTERVAL=5s", "SLIPWAY_CONCURRENCY=8")
	server, err := storetest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	o.Database = secret.New(server.Address(""))
	env := demotest.StartSignedIn(t, o)
	running, refused := env.Automate(
		env.Dockerfile("x"),
		demotest.MainRule(),
	), env.Automate(
		env.Dockerfile("x"),
		demotest.MainRule(),
	)
	runningCommit := running.Commit("running", env.Dockerfile("running", "RUN sleep 6"))
	running.Push("main")
	running.WaitNewest(1, autobuild.Running)
	server.Kill()
	over := time.NewTimer(outage())
	commit := refused.Commit("refused", env.Dockerfile("refused"))
	refused.Push("main")
	waitRefused(refused)
	checkReady(env, http.StatusServiceUnavailable)
	select {
	case <-over.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
	env.Must(server.Start())
	env = env.For(t) // with a timeout of its own
	waitReady(env)
	checkBuilt(refused.For(env), 1, commit, "refused")
	checkBuilt(running.For(env), 1, runningCommit, "running")
	checkStored(env, running.For(env))
}
