package embedded_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/identity"
	"slipway/plugin/engine/embedded"
	"slipway/runner/buildkit"
)

func needBuilder(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: starting a real builder in this test needs root, which is absent")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("SKIPPED: a builder needs runc, which is absent (Debian: apt-get install runc)")
	}
}

func newBuilder(t *testing.T, change func(*embedded.BuilderOptions)) (*embedded.Builder, *logrustest.Hook) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, hook := logrustest.NewNullLogger()
	o := embedded.BuilderOptions{
		Executable: self,
		Dir:        t.TempDir(),
		Network:    "none",
		CacheSize:  "1GB",
		Frontends:  []string{"example.com/frontend"},
		Idle:       time.Minute,
		Log:        log,
	}
	if change != nil {
		change(&o)
	}
	b := embedded.NewBuilder(o)
	t.Cleanup(b.Close)
	return b, hook
}

func address(t *testing.T, b *embedded.Builder) string {
	t.Helper()
	a, err := b.Address(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ping(t *testing.T, address string) {
	t.Helper()
	c, err := buildkit.Dial(t.Context(), address, identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// pidOf returns the process ID in the lock file of the state directory.
func pidOf(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "state", "builder.lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// The limits of the gateway's settings are those of the builder.
func TestBuilderGetsTheLimits(t *testing.T) {
	needBuilder(t)
	b, hook := newBuilder(t, func(o *embedded.BuilderOptions) {
		o.Memory, o.Processes, o.CPUs, o.Builds = "3GB", 1000, 1.5, 2
	})
	address(t, b)
	var log strings.Builder
	for _, entry := range hook.AllEntries() {
		log.WriteString(entry.Message + "\n")
	}
	const limits, notHeld = "memory 3 GB, 1000 processes, 1.5 CPUs", "limits of RUN steps are not held"
	if !strings.Contains(log.String(), limits) && !strings.Contains(log.String(), notHeld) {
		t.Errorf("got log\n%swant %q in it", &log, limits)
	}
}

func TestBuilderIsStartedOnceForAll(t *testing.T) {
	needBuilder(t)
	var dir string
	b, _ := newBuilder(t, func(o *embedded.BuilderOptions) { dir, o.Gid = o.Dir, 64001 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := b.Address(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	a := address(t, b)
	ping(t, a)
	first := pidOf(t, dir)
	if again := address(t, b); again != a {
		t.Errorf("got address %s, then %s", a, again)
	}
	if second := pidOf(t, dir); second != first {
		t.Errorf("got process %d, then %d: a second builder was started", first, second)
	}
	info, err := os.Stat(strings.TrimPrefix(a, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Gid; got != 64001 {
		t.Errorf("group of the socket: got %d, want 64001", got)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("mode of the socket: got %o, want 660", got)
	}
}

func TestBuilderRestartsAfterACrash(t *testing.T) {
	needBuilder(t)
	var dir string
	b, hook := newBuilder(t, func(o *embedded.BuilderOptions) { dir = o.Dir })
	ping(t, address(t, b))
	first := pidOf(t, dir)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitForLog(t, hook, "the builder ended")
	ping(t, address(t, b))
	if pidOf(t, dir) == first {
		t.Error("got the address of the killed builder, want a new one")
	}
}

func TestBuilderRestartsAfterAnIdleStop(t *testing.T) {
	needBuilder(t)
	b, hook := newBuilder(t, func(o *embedded.BuilderOptions) { o.Idle = 300 * time.Millisecond })
	ping(t, address(t, b))
	waitForLog(t, hook, "builder stops")
	ping(t, address(t, b))
}

func TestBuilderClose(t *testing.T) {
	needBuilder(t)
	b, _ := newBuilder(t, nil)
	path := strings.TrimPrefix(address(t, b), "unix://")
	b.Close()
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		t.Error("a builder accepts connections after Close")
	}
	if _, err := b.Address(t.Context()); err == nil {
		t.Error("Address after Close: got no error, want one")
	}
	b.Close() // harmless
}

// The builder of a killed gateway may still be ending. The next builder waits for it.
func TestBuilderWaitsForItsPredecessor(t *testing.T) {
	needBuilder(t)
	var dir string
	first, _ := newBuilder(t, func(o *embedded.BuilderOptions) { dir = o.Dir })
	address(t, first)
	second, _ := newBuilder(
		t, func(o *embedded.BuilderOptions) { o.Dir, o.Socket = dir, filepath.Join(t.TempDir(), "b.sock") },
	)
	closed := make(chan struct{})
	time.AfterFunc(500*time.Millisecond, func() { first.Close(); close(closed) })
	ping(t, address(t, second))
	<-closed
}

func TestBuilderReportsWhyItDidNotStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*embedded.BuilderOptions)
		want   string
	}{
		"no such program": {
			change: func(o *embedded.BuilderOptions) { o.Executable = "/no/such/program" }, want: "no such file",
		},
		"wrong setting": {change: func(o *embedded.BuilderOptions) { o.CacheSize = "many" }, want: "--cache-size"},
		"ends well": {
			change: func(o *embedded.BuilderOptions) { o.Executable = "/bin/true" }, want: "stopped at once",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newBuilder(t, c.change)
			_, err := b.Address(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestBuilderAddressEndsWithItsContext(t *testing.T) {
	b, _ := newBuilder(t, func(o *embedded.BuilderOptions) { o.Executable = script(t, "exec sleep 60") })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.Address(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want DeadlineExceeded", err)
	}
}

func TestBuilderGetsACleanEnvironment(t *testing.T) {
	t.Setenv("SLIPWAY_BITBUCKET_CLIENT_SECRET", "canary")
	t.Setenv("https_proxy", "http://proxy.example:3128")
	dump := filepath.Join(t.TempDir(), "env")
	b, _ := newBuilder(t, func(o *embedded.BuilderOptions) { o.Executable = script(t, "env > "+dump) })
	if _, err := b.Address(t.Context()); err == nil {
		t.Fatal("the script does not start a builder")
	}
	env, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "canary") {
		t.Errorf("got a secret of the gateway in %s", env)
	}
	if !strings.Contains(string(env), "https_proxy=") {
		t.Errorf("got %s, want https_proxy in it", env)
	}
}

func waitForLog(t *testing.T, hook *logrustest.Hook, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		for _, e := range hook.AllEntries() {
			if strings.Contains(e.Message, text) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the log does not contain %q", text)
		}
	}
}
