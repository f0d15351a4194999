package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// F3: while the disk of the database is full, a push is refused, and pages still work. When the disk has
// room again, the refused push is built once, and the next push is accepted, without a restart.
func TestF3APushToAFullDiskIsBuiltLater(t *testing.T) {
	t.Parallel()
	o := onSQLite(t, "SLIPWAY_RECONCILE_INTERVAL=2s", "SLIPWAY_DATA_RESERVE=1MB")
	o.BeforeGateway = func(_ context.Context, env *localenv.Env) ([]string, error) {
		if err := mountBelow(env, env.Gateway.Data, "48m"); err != nil {
			return nil, err
		}
		return nil, bindBuilder(env)
	}
	env := demotest.StartSignedIn(t, o)
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	fill := filepath.Join(env.Gateway.Data, "fill")
	if err := os.WriteFile(fill, random(64<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: got %v, want %v", err, syscall.ENOSPC)
	}
	fillLog(p)
	pushes, commit, greeting := 0, "", ""
	for refused := false; !refused; { // the database's log has room for some small ones
		if pushes++; pushes > 50 {
			t.Fatalf("pushes to a full disk: got %d accepted, want one refused", pushes)
		}
		greeting = fmt.Sprint("push ", pushes)
		commit = p.Commit(fmt.Sprintf("%x", random(16<<10)), env.Dockerfile(greeting))
		p.Push("main")
		env.WaitUntil("the push was answered", func() (bool, error) {
			sent := len(env.Bitbucket.Deliveries(p.Repository.Hooks()[0].UUID))
			return sent == pushes && len(attempts(p)) > 0, nil
		})
		refused = attempts(p)[0] == http.StatusServiceUnavailable
	}
	env.Must(env.Browser.Visit(env.Context, "/builds"))
	env.Must(os.Remove(fill))
	waitReady(env)
	checkBuilt(p, pushes, commit, greeting)
	commit = p.Commit("next", env.Dockerfile("next"))
	p.Push("main")
	checkBuilt(p, pushes+1, commit, "next")
	checkStored(env, p)
}

// bindBuilder keeps the directory of builds on the machine's disk, because a build needs a gigabyte.
func bindBuilder(env *localenv.Env) error {
	large, below := filepath.Join(env.Dir, "builds"), filepath.Join(env.Gateway.Data, "builder")
	for _, dir := range []string{large, below} {
		if err := os.Mkdir(dir, 0o711); err != nil {
			return err
		}
	}
	if err := syscall.Mount(large, below, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	env.OnClose(func() { _ = syscall.Unmount(below, syscall.MNT_DETACH) }) // the gateway has ended
	return nil
}

// fillLog sends large deliveries until one is refused, because the database's log has the space of earlier
// transactions.
func fillLog(p *demotest.Project) {
	env := p.Env
	env.T.Helper()
	body := random(900 << 10)
	key := hookSecret(env)
	for range 50 {
		r, err := http.NewRequestWithContext(env.Context, http.MethodPost, hookURL(p), bytes.NewReader(body))
		env.Must(err)
		r.Header.Set("X-Event-Key", "repo:push")
		r.Header.Set(webhook.SignatureHeader, webhook.Sign(body, key))
		response, err := http.DefaultClient.Do(r)
		env.Must(err)
		env.Must(response.Body.Close())
		if response.StatusCode == http.StatusServiceUnavailable {
			return
		}
	}
	env.T.Fatal("large deliveries to a full disk: got all accepted, want one refused")
}

// hookURL returns the URL of the webhook of a project.
func hookURL(p *demotest.Project) string {
	p.Env.T.Helper()
	return p.Repository.Hooks()[0].URL
}

// F5: while the disk of the logs is full, pushes are accepted and a build waits with its output. When the
// disk has room again, the build succeeds in its first attempt, and its log has every line.
func TestF5AFullDiskOfLogsStopsNoPush(t *testing.T) {
	t.Parallel()
	const lines = 4000
	var logs string // directory of the logs
	o := onSQLite(t, "SLIPWAY_CONCURRENCY=4")
	o.BeforeGateway = func(_ context.Context, env *localenv.Env) ([]string, error) {
		logs = filepath.Join(env.Gateway.Data, "logs")
		if err := os.MkdirAll(env.Gateway.Data, 0o711); err != nil {
			return nil, err
		}
		return nil, mountBelow(env, logs, "64k")
	}
	env := demotest.StartSignedIn(t, o)
	p, other := env.Automate(env.Dockerfile("x"), demotest.MainRule()), env.Repository(env.Dockerfile("x"))
	commit := p.Commit("loud", env.Dockerfile("loud",
		fmt.Sprintf("RUN i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line-$i-of-the-output; done", lines)))
	p.Push("main")
	env.WaitUntil("the disk of the logs is full", func() (bool, error) {
		var s syscall.Statfs_t
		err := syscall.Statfs(logs, &s)
		return s.Bfree == 0, err
	})
	env.Must(other.Automate(env.Context, env.Browser, demotest.MainRule()))
	otherCommit := other.Commit("other", env.Dockerfile("other"))
	other.Push("main")
	env.WaitUntil("the other push was answered", func() (bool, error) { return len(attempts(other)) > 0, nil })
	if got := attempts(other); len(got) != 1 || got[0] != http.StatusAccepted {
		t.Errorf("answers to a push: got %v, want one %d", got, http.StatusAccepted)
	}
	env.Must(syscall.Mount("tmpfs", logs, "tmpfs", syscall.MS_REMOUNT, "mode=711,size=16m"))
	b := checkBuilt(p, 1, commit, "loud")
	checkBuilt(other, 1, otherCommit, "other")
	if b.Attempt != 1 {
		t.Errorf("attempts: got %d, want 1", b.Attempt)
	}
	log, err := env.Browser.WaitLog(env.Context, b, 1, func(log string) bool {
		return strings.Contains(log, fmt.Sprintf("line-%d-of-the-output", lines))
	})
	env.Must(err)
	if got := strings.Count(log, "-of-the-output\n"); got != lines {
		t.Errorf("lines in the log: got %d, want %d", got, lines)
	}
}
