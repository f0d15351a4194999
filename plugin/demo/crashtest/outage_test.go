package crashtest

import (
	"net/http"
	"strings"
	"sync"
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

// ownPostgres starts a PostgreSQL server for one test.
func ownPostgres(t *testing.T) *storetest.Server {
	t.Helper()
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
	return server
}

// F8: PostgreSQL is down for long. Pushes are refused, and the gateway reports that it is not ready. When
// PostgreSQL is back, the gateway works without a restart: a running build ends, and the push that was
// refused is built once.
func TestF8ADatabaseThatIsDownForLongLosesNoPush(t *testing.T) {
	t.Parallel()
	o := onPostgres(t, "SLIPWAY_RECONCILE_INTERVAL=5s", "SLIPWAY_CONCURRENCY=8")
	server := ownPostgres(t)
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

// F24: PostgreSQL is restarted while a build runs. A push meanwhile is accepted when the server is back. Both are
// built once, in one attempt, and each tag is pushed once. No build ends before the server is back, because a final
// status that is interrupted is posted again.
func TestF24ARestartOfPostgreSQLDuringABuild(t *testing.T) {
	t.Parallel()
	o := onPostgres(t, "SLIPWAY_CONCURRENCY=8")
	server := ownPostgres(t)
	o.Database = secret.New(server.Address(""))
	var tags tagCounter
	o.WrapRegistry = tags.wrap
	env := demotest.StartSignedIn(t, o)
	projects := []*demotest.Project{
		env.Automate(env.Dockerfile("x"), demotest.MainRule()),
		env.Automate(env.Dockerfile("x"), demotest.MainRule()),
	}
	tags.hold()
	defer tags.release() // so that the registry can end
	running := projects[0].Commit("running", env.Dockerfile("running", "RUN echo $((40+2)) of 42"))
	projects[0].Push("main")
	// Not earlier: if the server stops while a status is posted, the status is posted again half a minute later.
	b := projects[0].WaitNewest(1, autobuild.Running)
	_, err := env.Browser.WaitLog(env.Context, b, 1, func(log string) bool { return strings.Contains(log, "42 of 42") })
	env.Must(err)
	server.Stop()
	meanwhile := projects[1].Commit("meanwhile", env.Dockerfile("meanwhile"))
	projects[1].Push("main")
	env.Must(server.Start())
	tags.release()
	for i, commit := range []string{running, meanwhile} {
		p := projects[i]
		b := checkBuilt(p, 1, commit, []string{"running", "meanwhile"}[i])
		p.CheckOneEnd(commit)
		if b.Attempt != 1 {
			t.Errorf("attempts of build %d: got %d, want 1", b.Number, b.Attempt)
		}
		if got := tags.count(p.Image, "latest"); got != 1 {
			t.Errorf("pushes of the tag of build %d: got %d, want 1", b.Number, got)
		}
	}
	// A server that takes more than 8 s to start makes the gateway refuse the first attempts.
	got := attempts(projects[1])
	for i, status := range got {
		want := http.StatusServiceUnavailable
		if i == len(got)-1 {
			want = http.StatusAccepted
		}
		if status != want {
			t.Errorf("answer %d to the push: got %d, want %d", i+1, status, want)
		}
	}
	checkStored(env, projects[1])
}

// A tagCounter counts the requests that push blobs and manifests, and can hold them. It is safe for concurrent use.
type tagCounter struct {
	mu    sync.Mutex
	paths map[string]int
	held  chan struct{} // requests wait until it is closed; nil = they do not wait
}

// hold makes all these requests wait until release.
func (c *tagCounter) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = make(chan struct{})
}

// release ends hold. It may be called again, and without hold.
func (c *tagCounter) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		close(c.held)
		c.held = nil
	}
}

func (c *tagCounter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			c.mu.Lock()
			if c.paths == nil {
				c.paths = map[string]int{}
			}
			c.paths[r.URL.Path]++
			held := c.held
			c.mu.Unlock()
			if held != nil {
				<-held
			}
		}
		next.ServeHTTP(rw, r)
	})
}

// count returns how often a tag of an image was pushed.
func (c *tagCounter) count(image, tag string) int {
	_, name, _ := strings.Cut(image, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths["/v2/"+name+"/manifests/"+tag]
}
