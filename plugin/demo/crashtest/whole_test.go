package crashtest

import (
	"context"
	"net/http"
	"os"
	"syscall"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// isLong reports whether the long form of the tests runs.
func isLong() bool { return os.Getenv("SLIPWAY_TRUST") != "" }

// onSQLite returns options for a gateway that can be killed, with SQLite.
func onSQLite(t *testing.T, environment ...string) localenv.Options {
	t.Helper()
	demotest.RequireTools(t)
	return localenv.Options{Child: true, Builder: os.Getenv(builderVariable), Environment: environment}
}

// attempts returns the statuses of the gateway's answers to the newest delivery of a project.
func attempts(p *demotest.Project) (statuses []int) {
	all := p.Env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID)
	if len(all) == 0 {
		return nil
	}
	for _, a := range all[len(all)-1].Attempts {
		statuses = append(statuses, a.Status)
	}
	return statuses
}

// waitRefused waits until the gateway has answered 503 to the newest delivery of a project.
func waitRefused(p *demotest.Project) {
	p.Env.T.Helper()
	p.Env.WaitUntil("the delivery was refused", func() (bool, error) { return len(attempts(p)) > 0, nil })
	if got := attempts(p)[0]; got != http.StatusServiceUnavailable {
		p.Env.T.Errorf("answer to the delivery: got %d, want %d", got, http.StatusServiceUnavailable)
	}
}

// checkReady checks the status of /readyz.
func checkReady(env *demotest.Env, want int) {
	env.T.Helper()
	got, err := ready(env.Context, env.Gateway.URL)
	env.Must(err)
	if got != want {
		env.T.Errorf("status of /readyz: got %d, want %d", got, want)
	}
}

// waitReady waits until /readyz answers 200.
func waitReady(env *demotest.Env) {
	env.T.Helper()
	env.WaitUntil("the gateway is ready", func() (bool, error) {
		got, err := ready(env.Context, env.Gateway.URL)
		return got == http.StatusOK, err
	})
}

func ready(ctx context.Context, gateway string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/readyz", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// checkBuilt waits for the end of the newest of n builds, and checks that it built the commit once, with
// one final status.
func checkBuilt(p *demotest.Project, n int, commit, greeting string) autobuild.Build {
	p.Env.T.Helper()
	b := p.WaitEnd(n, autobuild.Succeeded)
	p.WaitAll(n)
	if b.Commit.Hash != commit {
		p.Env.T.Errorf("build %d of commit: got %s, want %s", b.Number, b.Commit.Hash, commit)
	}
	p.CheckImage("latest", b, greeting)
	p.CheckOneSuccess(commit)
	return b
}

// checkStored checks that the database has every delivery that the gateway acknowledged.
func checkStored(env *demotest.Env, p *demotest.Project) {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	stored, err := s.Deliveries(env.Context, autobuild.DeliveryFilter{Limit: 1000})
	env.Must(err)
	rows := map[string]bool{}
	for _, d := range stored {
		rows[d.RequestID] = true
	}
	accepted := 0
	for _, d := range env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID) {
		if !isAccepted(d) {
			continue
		}
		accepted++
		if !rows[d.RequestUUID] {
			env.T.Errorf("acknowledged delivery %s: got no row, want one", d.RequestUUID)
		}
	}
	if accepted == 0 {
		env.T.Error("acknowledged deliveries: got none, want at least one")
	}
}

// mountBelow mounts a file system of a size on a directory of the gateway, before the gateway starts.
func mountBelow(env *localenv.Env, dir, size string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=711,size="+size); err != nil {
		return err
	}
	env.OnClose(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // the gateway has ended
	return nil
}
