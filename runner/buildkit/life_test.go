package buildkit_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipway/config/identity"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/server"
)

func TestSecondServerOnAStateFailsAtOnce(t *testing.T) {
	needBuildKit(t)
	state := t.TempDir()
	first := start(t, state)
	second := launch(t, state, "--address", "unix://"+state+".second.sock")
	if err := second.wait(t, 5*time.Second); err == nil {
		t.Error("the second server: got no error, want that the state is in use")
	}
	want := "in use by process " + strconv.Itoa(first.cmd.Process.Pid)
	if !strings.Contains(second.log.String(), want) {
		t.Errorf("log of the second server: got:\n%s\nwant %q in it", second.log, want)
	}
	other := launch(t, t.TempDir(), "--address", first.address)
	if err := other.wait(t, 5*time.Second); err == nil ||
		!strings.Contains(other.log.String(), "another server is running") {
		t.Errorf("a second server on the same socket: got %v, want an error\n%s", err, other.log)
	}
	build(t, first.dial(t), request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /\n", "a": ""})))
}

func TestStopsWhenIdleAndNotBefore(t *testing.T) {
	needBuildKit(t)
	state := t.TempDir()
	server := start(t, state, "--idle", "1s")
	client := server.dial(t)
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN busybox sleep 2\n"})))
	first := build(t, client, r) // takes longer than the idle time
	select {
	case err := <-server.exited:
		t.Fatalf("server with a connected client: got its end, error %v, want it running\n%s", err, server.log)
	case <-time.After(1500 * time.Millisecond): // an open client is not idle
	}
	_ = client.Close()
	if err := server.wait(t, 10*time.Second); err != nil {
		t.Errorf("idle stop: got %v, want exit code 0\n%s", err, server.log)
	}
	again := start(t, state)
	if second := build(t, again.dial(t), r); second.Digest != first.Digest || second.Cached != second.Steps {
		t.Errorf("after the restart: got %+v, want all cached and %s", second, first.Digest)
	}
}

func TestSigtermEndsABuildSoon(t *testing.T) {
	needBuildKit(t)
	server := start(t, t.TempDir())
	client := server.dial(t)
	failed := make(chan error, 1)
	running := make(chan struct{})
	r := request(
		withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN echo it-runs; busybox sleep 100\n"})),
	)
	r.Progress = onText("it-runs", func() { close(running) })
	go func() { _, err := client.Build(t.Context(), r); failed <- err }()
	<-running
	if err := server.stop(t); err != nil {
		t.Errorf("SIGTERM: got %v, want exit code 0\n%s", err, server.log)
	}
	var fault *buildkit.BuildError
	if err := <-failed; err == nil || errors.As(err, &fault) {
		t.Errorf("build: got %v, want an error that is not a BuildError", err)
	}
}

// A killed builder leaves no container and no mount, and the next builder starts.
func TestKillLeavesNothing(t *testing.T) {
	needBuildKit(t)
	state := t.TempDir()
	for _, victim := range []string{"outer", "inner"} {
		t.Run(victim, func(t *testing.T) {
			server := start(t, state)
			client := server.dial(t)
			mark := "4242" + strconv.Itoa(os.Getpid()%1000)
			running := make(chan struct{})
			r := request(
				withShell(
					t,
					write(
						t,
						map[string]string{"Dockerfile": shellStage + "RUN echo it-runs; busybox sleep " + mark + "\n"},
					),
				),
			)
			r.Progress = onText("it-runs", func() { close(running) })
			failed := make(chan error, 1)
			go func() { _, err := client.Build(t.Context(), r); failed <- err }()
			<-running
			if len(processes(t, "sleep "+mark)) == 0 {
				t.Fatal("processes of the RUN step: got none, want one")
			}
			pid := server.cmd.Process.Pid
			if victim == "inner" {
				pid = childOf(t, pid)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := server.wait(t, 5*time.Second); err == nil {
				t.Error("killed server: got no error, want one")
			}
			if err := <-failed; err == nil {
				t.Error("build on a killed server: got no error, want one")
			}
			must.Eventually(t, "no processes are left", func() bool {
				return len(processes(t, "sleep "+mark))+len(processes(t, state)) == 0
			})
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil || bytes.Contains(mounts, []byte(state)) {
				t.Errorf("mounts of the killed server: got some, or error %v, want none", err)
			}
			if left, _ := filepath.Glob("/run/runc/*"); len(left) > 0 {
				t.Errorf("got files %v in runc's state, want none", left)
			}
		})
	}
	build(
		t,
		start(t, state).dial(t),
		request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN true\n"}))),
	)
}

func TestSocketBelongsToItsGroup(t *testing.T) {
	needRoot(t)
	server := start(t, t.TempDir(), "--socket-group", "64000")
	info, err := os.Stat(strings.TrimPrefix(server.address, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if stat.Gid != 64000 || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: got gid %d and mode %o, want 64000 and 660", stat.Gid, info.Mode().Perm())
	}
}

// Serve also works in the caller's process.
func TestServeInProcess(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	state := t.TempDir()
	ready, ended := make(chan struct{}), make(chan error, 1)
	config := server.Config{
		Address: "unix://" + state + ".sock",
		State:   state,
		Network: sandbox.NetworkNone,
		Ready:   func() { close(ready) },
	}
	go func() { ended <- server.Serve(ctx, config) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	var locked *sandbox.LockedError
	if err := server.Serve(ctx, config); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("second server: got %v, want a LockedError with the pid of this process", err)
	}
	client, err := buildkit.Dial(ctx, config.Address, identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	r := request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN --mount=type=ssh true\n"})))
	r.Options.SSHKey = secret.New(sshKey(t))
	build(t, client, r)
	sockets, err := filepath.Glob(filepath.Join(state, "builder.tmp", ".buildkit-ssh-sock*"))
	if err != nil || len(sockets) != 1 {
		t.Errorf("directories for ssh below the state: got %q and error %v, want one", sockets, err)
	}
	_ = client.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestConfigFaults(t *testing.T) {
	cases := map[string]server.Config{
		"no state":        {Address: "unix:///x"},
		"negative cache":  {State: t.TempDir(), CacheBytes: -1},
		"address of TCP":  {State: t.TempDir(), Address: "tcp://127.0.0.1:1"},
		"relative socket": {State: t.TempDir(), Address: "unix://x"},
		"unknown network": {State: t.TempDir(), Address: "unix://" + t.TempDir() + "/s", Network: "bridge"},
		"runtime is missing": {
			State:      t.TempDir(),
			Address:    "unix://" + t.TempDir() + "/s",
			OCIRuntime: "no-such-runtime",
		},
		"illegal frontend": {
			State:     t.TempDir(),
			Address:   "unix://" + t.TempDir() + "/s",
			Network:   sandbox.NetworkNone,
			Frontends: []string{"A B"},
		},
	}
	for name, config := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := server.Serve(ctx, config); err == nil {
				t.Error("Serve: got no error, want one")
			}
		})
	}
}

func TestDialWithoutAServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := buildkit.Dial(ctx, "unix://"+path, identity.Identity{}); err == nil {
		t.Error("dial without a server: got no error, want one")
	}
}

func TestRuntimesThatDoNotWork(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "crun")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho 'Usage: crun run [--no-pivot]'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := server.Serve(
		t.Context(),
		server.Config{
			State:      filepath.Join(dir, "s"),
			Address:    "unix://" + dir + "/sock",
			Network:    sandbox.NetworkNone,
			OCIRuntime: old,
		},
	)
	if err == nil || !strings.Contains(err.Error(), "use runc") {
		t.Errorf("Serve: got error %v, want the advice to use runc", err)
	}
}

// processes returns the other processes whose command line contains a text.
func processes(t *testing.T, text string) []string {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, text) && !strings.Contains(line, "-test.") && !strings.Contains(line, "ps -eo") {
			found = append(found, line)
		}
	}
	return found
}

func childOf(t *testing.T, pid int) int {
	t.Helper()
	out, err := exec.Command("ps", "--ppid", strconv.Itoa(pid), "-o", "pid=").Output()
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return child
}
