package crashtest

import (
	"net/http"
	"path/filepath"
	"testing"

	"slipway/plugin/demo/demotest"
	"slipway/plugin/store/storetest"
)

// F4: while syncs of the database's log fail, a push is refused, and the gateway reports that it is not
// ready. When they work again, the repeated delivery is accepted without a restart, and the push is built
// once. Every acknowledged delivery is there after a kill.
func TestF4AFailedSyncIsNeverAcknowledged(t *testing.T) {
	t.Parallel()
	env := demotest.StartSignedIn(t, onSQLite(t))
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("one", env.Dockerfile("one"))
	restore := storetest.FailSyncs(t, env.Gateway.PID(), filepath.Join(env.Gateway.Data, "slipway.db-wal"),
		filepath.Join(t.TempDir(), "report"))
	p.Push("main")
	waitRefused(p)
	checkReady(env, http.StatusServiceUnavailable)
	restore()
	waitReady(env)
	checkBuilt(p, 1, commit, "one")
	commit = p.Commit("two", env.Dockerfile("two"))
	p.Push("main")
	checkBuilt(p, 2, commit, "two")
	if got := attempts(p); len(got) != 1 || got[0] != http.StatusAccepted {
		t.Errorf("answers to a push after the failure: got %v, want one %d", got, http.StatusAccepted)
	}
	env.Must(env.Gateway.Kill())
	env.Must(env.Gateway.Start(env.Context))
	checkStored(env, p)
}
