package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/buildservice"
	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/runner/sandbox/cgroup"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/sandboxtest"
	"slipway/runner/sandbox/service"
)

// hookScript reports where a hook runs.
const hookScript = `echo "user $(id -u)"
echo "workspace $(ls /workspace)"
echo changed > /workspace/by-hook
echo "host $(ls /home /root /run 2>/dev/null | grep -c slipway)"
echo "resolver $(grep -c ^nameserver /etc/resolv.conf)"
head -c 700M /dev/zero > /workspace/large 2>/dev/null || echo "disk full"
rm /workspace/large
head -c 300M /dev/zero | tail > /dev/null || echo "out of memory"`

// runHook runs hookScript in the sandbox of this runner, and returns its output.
func runHook() string {
	control, err := buildservice.OpenControl(os.Getenv)
	if err != nil {
		return err.Error()
	}
	workspace := os.Getenv("SLIPWAY_WORKSPACE")
	if err := os.WriteFile(filepath.Join(workspace, "by-runner"), nil, 0o600); err != nil {
		return err.Error()
	}
	conn, err := control.Sandbox(context.Background(), buildservice.Sandbox{})
	if err != nil {
		return err.Error()
	}
	socket, err := conn.File()
	if err != nil {
		return err.Error()
	}
	client, err := guest.NewClient(socket)
	if err != nil {
		return err.Error()
	}
	var out bytes.Buffer
	status, err := client.Run(context.Background(), guest.Command{
		Args: []string{"/bin/sh", "-c", hookScript}, Env: []string{"PATH=/usr/bin:/bin"}, Output: &out,
	})
	fmt.Fprintf(&out, "status %v %v\n", status, err)
	limit, err := control.Limit(context.Background())
	fmt.Fprintf(&out, "limit %s %v\n", limit, err)
	changed, err := os.ReadFile(filepath.Join(workspace, "by-hook"))
	fmt.Fprintf(&out, "runner reads %q %v\n", changed, err)
	return out.String()
}

func TestHooksRunInASandboxOfTheirOwn(t *testing.T) {
	needRoot(t)
	sandboxtest.Need(t, "iptables", "iptables")
	checkHook(t, "resolver 1\n", "limit killed: out of memory, limit 128 MB: SLIPWAY_BUILD_MEMORY <nil>\n")
}

// The service of an ordinary user has no limit of memory, and the disk is in memory.
func TestHooksRunInASandboxWithoutRoot(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	checkHook(t, "limit the disk of the build is full, limit 536.9 MB: SLIPWAY_BUILD_DISK <nil>\n")
}

// checkHook runs a hook and checks its output, and that nothing of the attempt is left.
func checkHook(t *testing.T, wants ...string) {
	t.Helper()
	sandboxtest.Need(t, "runc", "runc")
	e := newEnv(t, "", func(o *service.Options) {
		o.Program = "/proc/self/exe"
		o.FirstUID, o.GID = 64000, 64000
		o.DiskBytes = 512 << 20
		sandboxes := service.NewHostSandboxes(t.Context(), service.SandboxOptions{
			Dir: filepath.Join(o.Dir, "sandboxes"), Limits: cgroup.Settings{Memory: 128e6}, Log: discard.Logger(),
		})
		t.Cleanup(sandboxes.Close)
		o.Sandboxes = sandboxes
	})
	if level, err := e.client.Level(t.Context()); err != nil || level.Hooks != buildservice.LevelFull {
		t.Fatalf("level: got %+v, error %v, want full", level, err)
	}
	r := run("b1-1")
	r.Token = secret.New(hookToken + filepath.Join(e.dir, "answers"))
	a, err := e.client.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if ended := a.Wait(); ended.Error != "" {
		t.Errorf("runner: got error %q with output %q, want none", ended.Error, ended.Output)
	}
	got := e.read(t, "answers")
	wants = append(wants, "user 0\n", "workspace by-runner\n", "host 0\n", "disk full\n", "status exit code 0 <nil>\n",
		`runner reads "changed\n" <nil>`)
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("hook: got %q, want %q in it", got, want)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if attempts := filepath.Join(e.state, "attempts"); strings.Contains(string(mounts), attempts) {
		t.Errorf("mounts of an ended attempt: got %s, want none below %s", mounts, attempts)
	}
}

// An attempt that finds no room is not started, and a later try may succeed.
func TestAnAttemptWithoutRoomIsRefused(t *testing.T) {
	needRoot(t)
	e := newEnv(t, "exit 0", func(o *service.Options) {
		o.DiskBytes = 1 << 60
		must.Succeed(t, os.MkdirAll(o.Dir, 0o711))
		must.Succeed(t, unix.Mount("tmpfs", o.Dir, "tmpfs", 0, "size=64m,mode=0711"))
		t.Cleanup(func() { must.Succeed(t, unix.Unmount(o.Dir, unix.MNT_DETACH)) })
	})
	_, err := e.client.Start(t.Context(), run("b1-1"))
	if !errors.Is(err, buildservice.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
	if err == nil || !strings.Contains(err.Error(), "free") {
		t.Errorf("got %v, want the free space in it", err)
	}
}

// An attempt with little room gets a smaller disk than usual.
func TestAnAttemptWithLittleRoomGetsASmallerDisk(t *testing.T) {
	needRoot(t)
	e := newEnv(t, `stat -f -c %T . >"$OUT/type"`, func(o *service.Options) { o.DiskBytes = 1 << 60 })
	a := e.start(t, "b1-1")
	a.Wait()
	if got, want := strings.TrimSpace(e.read(t, "type")), "ext2/ext3"; got != want {
		t.Errorf("file system of the runner: got %s, want %s", got, want)
	}
}
