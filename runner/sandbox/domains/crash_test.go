package domains_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/domains"
)

// A crashEnv is a directory of domains that several supervisors use, one after the other.
type crashEnv struct {
	dir     string
	disk    int64  // size of the domain's disk in bytes; 0 = none
	script  string // in place of the builder's program; empty = none
	s       *domains.Supervisor
	hook    *logrustest.Hook
	address string // of the builder
}

// layouts runs a test with a domain that has a disk, and with one that has none.
func layouts(t *testing.T, run func(t *testing.T, e *crashEnv)) {
	t.Helper()
	needBuilder(t)
	t.Run("without a disk", func(t *testing.T) { run(t, &crashEnv{dir: shortDir(t)}) })
	t.Run("with a disk", func(t *testing.T) {
		needDisks(t)
		run(t, &crashEnv{dir: shortDir(t), disk: 64 << 20})
	})
}

// start starts a supervisor if none runs, and the builder.
func (e *crashEnv) start(t *testing.T) {
	t.Helper()
	if e.s == nil {
		e.s, e.hook = newSupervisor(t, func(o *domains.Options) {
			o.Dir, o.DiskBytes, o.ShareLayers = e.dir, e.disk, true
			if e.script != "" {
				o.Executable = e.script
			}
		})
	}
	e.address = address(t, e.s, "a")
}

// build builds the same image each time, and reports whether it is cached.
func (e *crashEnv) build(t *testing.T) (cached bool) {
	t.Helper()
	e.start(t)
	c := must.Get[*client.Client](t)(client.New(t.Context(), e.address))
	defer func() { must.Succeed(t, c.Close()) }()
	definition := must.Get[*llb.Definition](
		t,
	)(
		llb.Scratch().File(llb.Mkfile("/file", 0o600, []byte("x"))).Marshal(t.Context()),
	)
	status, done := make(chan *client.SolveStatus), make(chan struct{})
	go func() {
		defer close(done)
		for s := range status {
			for _, v := range s.Vertexes {
				cached = cached || v.Cached
			}
		}
	}()
	must.Get[*client.SolveResponse](t)(c.Solve(t.Context(), definition, client.SolveOpt{}, status))
	<-done
	// BuildKit releases the result of a build after its answer.
	must.Eventually(t, "the builder has released the result", func() bool {
		records := must.Get[[]*client.UsageInfo](t)(c.DiskUsage(t.Context()))
		return !slices.ContainsFunc(records, func(r *client.UsageInfo) bool { return r.InUse })
	})
	return cached
}

// kill kills the builder and waits for its end.
func (e *crashEnv) kill(t *testing.T) {
	t.Helper()
	pid := pidOf(t, e.address)
	must.Succeed(t, syscall.Kill(pid, syscall.SIGKILL))
	must.Eventually(t, "the builder has ended", func() bool { return syscall.Kill(pid, 0) != nil })
}

// stop stops the supervisor and its builder.
func (e *crashEnv) stop() {
	e.s.Close()
	e.s = nil
}

// change changes a field of the record of the state, as if the state was last used on another machine or boot.
func (e *crashEnv) change(t *testing.T, field string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(strings.TrimPrefix(e.address, "unix://")), "state", "origin")
	var record map[string]any
	must.Succeed(t, json.Unmarshal(must.Get[[]byte](t)(os.ReadFile(path)), &record))
	if record[field] == nil {
		t.Skipf("SKIPPED: this machine has no %s id, which is absent (Debian: systemd-machine-id-setup)", field)
	}
	record[field] = "another"
	must.Succeed(t, os.WriteFile(path, must.Get[[]byte](t)(json.Marshal(record)), 0o600))
}

// checkDeleted checks that the log has the reason why the cache was deleted; "" = it was not.
func (e *crashEnv) checkDeleted(t *testing.T, want string) {
	t.Helper()
	got := ""
	for _, entry := range e.hook.AllEntries() {
		if entry.Message == "the cache of a domain is deleted" {
			got += fmt.Sprint(entry.Data["why"])
		}
	}
	if (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("log of a deleted cache: got %q, want %q", got, want)
	}
}

func TestACacheIsUsedOnlyIfItIsComplete(t *testing.T) {
	kill := func(t *testing.T, e *crashEnv) { e.kill(t); e.stop() }
	stop := func(_ *testing.T, e *crashEnv) { e.stop() }
	for name, test := range map[string]struct {
		end     func(t *testing.T, e *crashEnv)
		change  string // field of the record
		deleted string // part of the reason; empty = the cache is used
	}{
		"a killed builder":                  {kill, "", ""},
		"a killed builder, then a crash":    {kill, "boot", "lost power"},
		"a clean end, then a boot":          {stop, "boot", ""},
		"a clean end, then another machine": {stop, "machine", "another machine"},
	} {
		t.Run(name, func(t *testing.T) {
			layouts(t, func(t *testing.T, e *crashEnv) {
				if e.build(t) {
					t.Error("first build: got a cached one, want none")
				}
				test.end(t, e)
				if test.change != "" {
					e.change(t, test.change)
				}
				want := test.deleted == ""
				if got := e.build(t); got != want {
					t.Errorf("build after %s: got cached %v, want %v", name, got, want)
				}
				e.checkDeleted(t, test.deleted)
				if test.deleted == "" {
					return
				}
				e.kill(t)        // the same supervisor starts the next builder
				if !e.build(t) { // it is not deleted again and again
					t.Error("build after that: got none cached, want all")
				}
			})
		})
	}
}

// A builder that is killed before its state is on the disk leaves no record of a clean end. So the cache is used in
// the same boot only.
func TestACleanEndIsCutBeforeTheStateIsOnTheDisk(t *testing.T) {
	needBuilder(t)
	needDisks(t)
	strace := needStrace(t)
	for name, test := range map[string]struct {
		call string // the system call that kills the builder
		boot bool   // the next builder runs in another boot
	}{
		"at the disk's own file system":     {"syncfs:signal=KILL:when=1", true},
		"at the file system of the machine": {"syncfs:signal=KILL:when=2", true},
		"in the same boot":                  {"syncfs:signal=KILL:when=1", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &crashEnv{dir: shortDir(t), disk: 64 << 20}
			e.build(t)
			e.stop()
			// The builder below only starts and ends.
			e.script = script(
				t,
				fmt.Sprintf(`exec %s -DD -f -qq -o /dev/null -e trace=syncfs -e inject=%s /proc/%d/exe "$@"`,
					strace, test.call, os.Getpid()),
			)
			e.start(t)
			ping(t, e.address)
			e.stop()
			e.script = ""
			want := ""
			if test.boot {
				e.change(t, "boot")
				want = "lost power"
			}
			if got := e.build(t); got == test.boot {
				t.Errorf("cached: got %v, want %v", got, !test.boot)
			}
			e.checkDeleted(t, want)
		})
	}
}

// A disk may need seconds for the files of a large build.
func TestACleanEndWaitsForASlowDisk(t *testing.T) {
	needBuilder(t)
	needDisks(t)
	delay := "2s"
	if os.Getenv("SLIPWAY_TRUST") != "" {
		delay = "10s"
	}
	strace := needStrace(t)
	e := &crashEnv{dir: shortDir(t), disk: 64 << 20}
	e.build(t)
	e.stop()
	e.script = script(t, fmt.Sprintf(
		`exec %s -DD -f -qq -o /dev/null -e trace=syncfs -e inject=syncfs:delay_enter=%s:when=1 /proc/%d/exe "$@"`,
		strace, delay, os.Getpid()))
	e.start(t)
	ping(t, e.address)
	e.stop()
	e.script = ""
	e.change(t, "boot")
	if !e.build(t) {
		t.Error("build after a slow end: got none cached, want all")
	}
	e.checkDeleted(t, "")
}

// A cache that cannot be deleted is an error that names the directory, not an endless loop.
func TestACacheThatCannotBeDeletedIsAnError(t *testing.T) {
	layouts(t, func(t *testing.T, e *crashEnv) {
		e.build(t)
		e.kill(t)
		e.stop()
		e.change(t, "boot")
		state := filepath.Join(filepath.Dir(strings.TrimPrefix(e.address, "unix://")), "state")
		mountAt(t, state)
		s, _ := newSupervisor(t, func(o *domains.Options) { o.Dir, o.DiskBytes = e.dir, e.disk })
		_, err := s.Address(t.Context(), "a")
		for _, want := range []string{"lost power", state, "by hand"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error: got %v, want %q in it", err, want)
			}
		}
	})
}

// The shared layers of another machine are deleted with the caches that use them.
func TestSharedLayersOfAnotherMachineAreDeleted(t *testing.T) {
	needBuilder(t)
	dir := shortDir(t)
	layer := filepath.Join(dir, "layers", "layer")
	must.Succeed(t, os.MkdirAll(layer, 0o700))
	start := func() *logrustest.Hook {
		s, hook := newSupervisor(t, func(o *domains.Options) { o.Dir, o.ShareLayers = dir, true })
		address(t, s, "a")
		s.Close()
		return hook
	}
	start()
	if _, err := os.Stat(layer); err != nil {
		t.Errorf("a layer of this machine: got %v, want that it is kept", err)
	}
	origin := filepath.Join(dir, "layers", "origin")
	must.Succeed(t, os.WriteFile(origin, []byte(`{"machine":"another","open":false}`), 0o600))
	hook := start()
	if _, err := os.Stat(layer); !os.IsNotExist(err) {
		t.Errorf("a layer of another machine: got %v, want that it does not exist", err)
	}
	if e := find(hook, "the shared layers of all caches are deleted"); e == nil {
		t.Error("log: got no line about the shared layers, want one")
	}
}

// find returns the entry of a log with a message, or nil.
func find(hook *logrustest.Hook, message string) *logrus.Entry {
	for _, e := range hook.AllEntries() {
		if e.Message == message {
			return e
		}
	}
	return nil
}

// needStrace returns the path of strace.
func needStrace(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIPPED: this test kills a process at a system call with strace, which is absent " +
			"(Debian: apt-get install strace)")
	}
	return path
}

// mountAt mounts a directory over itself, so that it cannot be renamed.
func mountAt(t *testing.T, dir string) {
	t.Helper()
	must.Succeed(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	t.Cleanup(func() { must.Succeed(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}
