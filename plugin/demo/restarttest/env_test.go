package restarttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/config/process"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

var hookSecret = secret.New("hook-secret")

// An env is a gateway on SQLite with one webhook. Its program is a link to the test's own.
type env struct {
	t       *testing.T
	dir     string
	address string
	metrics string
	hook    string // URL of the webhook
	process *process.Process
	socket  *os.File // listener of a systemd socket unit; nil = the gateway listens
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, dir: t.TempDir(), address: freeAddress(t), metrics: freeAddress(t)}
	e.hook = "http://" + e.address + "/hooks/bitbucket/" + e.createHook()
	self, err := os.Executable()
	e.must(err)
	e.install(self)
	return e
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) program() string { return filepath.Join(e.dir, "slipway") }
func (e *env) data() string    { return filepath.Join(e.dir, "data") }
func (e *env) logFile() string { return filepath.Join(e.dir, "log") }

// install makes the program a link to a file.
func (e *env) install(file string) {
	e.t.Helper()
	link := e.program() + ".new"
	e.must(os.Symlink(file, link))
	e.must(os.Rename(link, e.program()))
}

// createHook stores a webhook in the database of the gateway, and returns its ID.
func (e *env) createHook() string {
	e.t.Helper()
	e.must(os.Mkdir(e.data(), 0o700))
	s := e.openStore()
	defer s.Close()
	provider, err := s.SaveProvider(e.t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "bitbucket-cloud"})
	e.must(err)
	r := storetest.Repository("app")
	r.ProviderID = provider.ID
	storetest.AutomatedBuild(e.t, s, r) // a webhook without one is removed
	h, err := s.SaveHook(e.t.Context(), autobuild.Hook{
		AccountID: "a", Repository: r, Secret: hookSecret, State: autobuild.HookActive,
	})
	e.must(err)
	return h.ID
}

func (e *env) openStore() *store.Store {
	e.t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(e.data(), "secret.key"), true)
	e.must(err)
	s, err := store.Open(e.t.Context(), store.Options{Path: filepath.Join(e.data(), "slipway.db"), Sealer: sealer})
	e.must(err)
	return s
}

// start starts the gateway and waits until it is ready. The test stops it at its end.
func (e *env) start(settings ...string) {
	e.t.Helper()
	cmd := exec.Command(e.program(), "gateway")
	if e.socket != nil { // as systemd does it
		cmd = exec.Command(
			"sh",
			"-c",
			`LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=public exec "$0" gateway`,
			e.program(),
		)
		cmd.ExtraFiles = []*os.File{e.socket}
	}
	cmd.Env = append(e.environ(), settings...)
	log, err := os.OpenFile(e.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	e.must(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	up := e.starts()
	e.process, err = process.Start(cmd, process.Options{})
	e.must(err)
	e.t.Cleanup(func() {
		e.process.Stop(10 * time.Second)
		if e.t.Failed() {
			e.t.Logf("log:\n%s", e.log())
		}
	})
	e.awaitStart(up)
}

func (e *env) environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "SLIPWAY_URL=http://" + e.address, "SLIPWAY_LISTEN=" + e.address,
		"SLIPWAY_DATA=" + e.data(), "SLIPWAY_METRICS_LISTEN=" + e.metrics,
		"SLIPWAY_BITBUCKET_URL=http://127.0.0.1:1", "SLIPWAY_BITBUCKET_API_URL=http://127.0.0.1:1",
		"SLIPWAY_BUILDER=tcp://127.0.0.1:1",
	}
}

func (e *env) log() string {
	text, err := os.ReadFile(e.logFile())
	if err != nil && !os.IsNotExist(err) {
		e.t.Error(err)
	}
	return string(text)
}

// starts returns how often a gateway has started.
func (e *env) starts() int { return strings.Count(e.log(), `"gateway is up"`) }

// awaitStart waits for one more start than before.
func (e *env) awaitStart(before int) {
	e.t.Helper()
	e.await("a gateway that is up", func() bool { return e.starts() > before })
}

func (e *env) await(what string, met func() bool) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	err := localenv.Wait(ctx, func() (bool, error) {
		if !e.process.Running() {
			return false, errors.New("the gateway has ended")
		}
		return met(), nil
	})
	if err != nil {
		e.t.Fatalf("wait for %s: %v; log:\n%s", what, err, e.log())
	}
}

// handOver makes the gateway execute the program again, and waits until that is up.
func (e *env) handOver() {
	e.t.Helper()
	before := e.starts()
	e.process.Signal(syscall.SIGUSR2)
	e.awaitStart(before)
}

// restartService stops and starts the gateway.
func (e *env) restartService() {
	e.t.Helper()
	e.process.Stop(10 * time.Second)
	e.start()
}

// deliver sends a signed webhook. It returns an error unless the response is 202.
func (e *env) deliver(ctx context.Context, client *http.Client, n int) error {
	body := fmt.Appendf(nil, `{"n":%d,"padding":%q}`, n, strings.Repeat("x", 4000))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.hook, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Event-Key", "repo:fork") // the planner ignores it
	r.Header.Set(webhook.SignatureHeader, webhook.Sign(body, hookSecret))
	return do(client, r, http.StatusAccepted)
}

func do(client *http.Client, r *http.Request, want int) error {
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("got status %d, want %d", resp.StatusCode, want)
	}
	return nil
}

// freeAddress returns a free address whose port the kernel does not choose by itself.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 50 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("free ports: got none, want one")
	return ""
}
