package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipway/runner/sandbox/container"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/sandboxtest"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// processOnes returns the PIDs of the process 1 of all sandboxes of this PID namespace.
func processOnes(t *testing.T) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if bytes.HasSuffix(text, []byte("\x00"+guest.Argument+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestKilledProcessOne(t *testing.T) {
	host, dir := newHost(t)
	a := start(t, host, dir, container.Options{})
	output := &bytes.Buffer{}
	ones := processOnes(t)
	if len(ones) != 1 {
		t.Fatalf("got processes %v, want one process 1", ones)
	}
	killed := writerFunc(func(p []byte) (int, error) {
		if err := syscall.Kill(ones[0], syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		return output.Write(p)
	})
	_, err := a.Client().Run(t.Context(), guest.Command{
		Args:   []string{"/bin/sh", "-c", "echo x; sleep 1000"},
		Output: killed,
	})
	if !errors.Is(err, guest.ErrEnded) {
		t.Errorf("got %v, want %v", err, guest.ErrEnded)
	}
	<-a.Ended()
	_, err = a.Client().Run(t.Context(), guest.Command{Args: []string{"/bin/true"}})
	if !errors.Is(err, guest.ErrEnded) {
		t.Errorf("the next command: got %v, want %v", err, guest.ErrEnded)
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	host, dir := newHost(t)
	before := leftovers(t, dir)
	a := start(t, host, dir, container.Options{})
	a.run("(setsid sleep 1000 &) ; echo")
	socket, err := a.TakeSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close() // the runner does not close its copy
	client, err := guest.NewClient(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var out bytes.Buffer
	_, err = client.Run(t.Context(), guest.Command{Args: []string{"/bin/echo", "x"}, Output: &out})
	if err != nil || out.String() != "x\n" {
		t.Errorf("by the taken socket: got %q and %v, want x", out.String(), err)
	}
	_, err = a.Client().Run(t.Context(), guest.Command{Args: []string{"/bin/true"}})
	if !errors.Is(err, guest.ErrDetached) {
		t.Errorf("the client without socket: got %v, want %v", err, guest.ErrDetached)
	}
	a.close()
	if after := leftovers(t, dir); after != before {
		t.Errorf("after Close: got %s, want %s", after, before)
	}
	if ones := processOnes(t); len(ones) != 0 {
		t.Errorf("after Close: got processes %v, want none", ones)
	}
}

// leftovers lists the mounts, files and cgroups that a sandbox makes.
func leftovers(t *testing.T, dir string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(mounts)) {
		if contains(line, dir) {
			all = append(all, line)
		}
	}
	for _, pattern := range []string{
		dir + "/*", dir + "/host/*", "/sys/fs/cgroup/*/slipway-box-*", "/sys/fs/cgroup/slipway-box-*",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, files...)
	}
	return strings.Join(all, "\n")
}

func TestManySandboxesAtOnce(t *testing.T) {
	host, dir := newHost(t)
	before := leftovers(t, dir)
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() {
			want := fmt.Sprint(n)
			a, err := newAttempt(t, host, dir, container.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer a.close()
			var out bytes.Buffer
			_, err = a.Client().Run(t.Context(), guest.Command{Args: []string{"/bin/echo", want}, Output: &out})
			if err != nil || strings.TrimSpace(out.String()) != want {
				t.Errorf("got %q and %v, want %s", out.String(), err, want)
			}
			if got := a.Output(); got != "" {
				t.Errorf("got output %q of runc and process 1, want none", got)
			}
		})
	}
	all.Wait()
	if after := leftovers(t, dir); after != before {
		t.Errorf("got %s, want %s", after, before)
	}
}

func TestAFailedStartLeavesNothing(t *testing.T) {
	host, dir := newHost(t)
	before := leftovers(t, dir)
	d, err := disk.New(t.Context(), disk.Options{Dir: dir, Bytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	o := container.Options{Disk: d}
	o.Workspace.Dir = "/etc"
	o.Workspace.Owner = runner
	if _, err := host.Start(t.Context(), o); err == nil || !contains(err.Error(), "belongs to user 0, want 4243") {
		t.Errorf("a workspace of another user: got %v, want an error", err)
	}
	if err := os.Symlink("/root", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	o.Workspace.Dir, o.Workspace.Owner = filepath.Join(dir, "link"), 0
	if _, err := host.Start(t.Context(), o); err == nil {
		t.Error("a workspace that is a link: got no error, want one")
	}
	if err := os.Remove(filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	o.Workspace.Dir = filepath.Join(d.Path(), "w")
	if err := os.Mkdir(o.Workspace.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	o.Network = "/absent"
	if _, err := host.Start(t.Context(), o); err == nil || !contains(err.Error(), "/absent") {
		t.Errorf("no such network: got %v, want an error that names it", err)
	}
	o.Network = ""
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := host.Start(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no time: got %v, want %v", err, context.DeadlineExceeded)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if after := leftovers(t, dir); after != before {
		t.Errorf("got %s, want %s", after, before)
	}
}

// The error for a directory that sandboxes cannot traverse would otherwise be runc's, and hard to read.
func TestDirectoriesMustBeTraversable(t *testing.T) {
	sandboxtest.NeedRoot(t)
	dir := sandboxtest.Dir(t)
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := container.New(t.Context(), container.HostOptions{Dir: filepath.Join(dir, "private", "host")})
	if err == nil || !contains(err.Error(), "traverse "+dir+"/private: sandboxes are not allowed to: run chmod o+x") {
		t.Errorf("got %v, want an error with the directory and a fix", err)
	}
}

// ownerVariable makes this program start a sandbox in the directory, and wait.
const ownerVariable = "SLIPWAY_TEST_OWNER"

func TestNothingRunsAfterTheOwnerWasKilled(t *testing.T) {
	sandboxtest.NeedRoot(t)
	sandboxtest.Need(t, "runc", "runc")
	if dir := os.Getenv(ownerVariable); dir != "" {
		startAndWait(t, dir)
		return
	}
	dir := sandboxtest.Dir(t)
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestNothingRunsAfterTheOwnerWasKilled$", "-test.v")
	cmd.Env = append(os.Environ(), ownerVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	started := false
	var log bytes.Buffer
	// The output ends when all processes with the pipe have ended: the owner, runc, and process 1.
	buffer := make([]byte, 4096)
	for {
		n, err := read.Read(buffer)
		log.Write(buffer[:n])
		if !started && contains(log.String(), "sandbox has started") {
			started = true
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait() // it was killed
	if !started {
		t.Fatalf("got output %s, want that the sandbox starts", log.String())
	}
	// The kernel removes the mounts some moments after the last process.
	devices := func() string {
		out, err := exec.Command("losetup", "-a").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if !eventually(t, func() bool { return !contains(devices(), filepath.Base(dir)) }) {
		t.Errorf("got loop devices %s, want none of the test", devices())
	}
	host, err := container.New(t.Context(), container.HostOptions{Dir: filepath.Join(dir, "host")})
	if err != nil {
		t.Fatalf("New after a kill: got %v, want no error", err)
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if err := disk.Sweep(dir); err != nil {
		t.Errorf("Sweep after a kill: got %v, want no error", err)
	}
	if got, want := leftovers(t, dir), dir+"/host\n"+dir+"/host/files"; got != want {
		t.Errorf("after the next start: got %s, want %s", got, want)
	}
}

// eventually waits until a condition holds, and reports whether it does.
func eventually(t *testing.T, holds func() bool) bool {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	over := time.NewTimer(30 * time.Second)
	defer over.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-over.C:
			return false
		}
	}
	return true
}

// startAndWait is the owner that is killed. TestMain gave it namespaces of its own.
func startAndWait(t *testing.T, dir string) {
	host, err := container.New(t.Context(), container.HostOptions{Dir: filepath.Join(dir, "host")})
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, host, dir, container.Options{})
	_, err = a.Client().Run(t.Context(), guest.Command{
		Args: []string{"/bin/sh", "-c", "(setsid /bin/sleep 1000 &) ; echo sandbox has started; exec /bin/sleep 1000"},
		Output: writerFunc(func(p []byte) (int, error) {
			return fmt.Fprintf(os.Stdout, "%s", p)
		}),
	})
	t.Error("got an end of the command, want to be killed:", err)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func BenchmarkStart(b *testing.B) {
	host, dir := newHost(b)
	for b.Loop() {
		start(b, host, dir, container.Options{}).close()
	}
}

func BenchmarkFurtherCommand(b *testing.B) {
	host, dir := newHost(b)
	a := start(b, host, dir, container.Options{})
	for b.Loop() {
		if _, err := a.Client().Run(b.Context(), guest.Command{Args: []string{"/bin/true"}}); err != nil {
			b.Fatal(err)
		}
	}
}
