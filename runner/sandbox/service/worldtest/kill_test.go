package worldtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/buildservice"
	"slipway/config/must"
	"slipway/config/process"
	"slipway/config/secret"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/sandboxtest"
)

// runRunner is the runner of an attempt. It connects to its builder, starts a hook that does not end, and then
// writes the file whose path is its token.
func runRunner() int {
	file := os.Getenv("SLIPWAY_RUNNER_TOKEN")
	err := holdAll(func() error { return os.WriteFile(file, []byte("ready"), 0o600) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.WriteFile(file, []byte(err.Error()), 0o600) // the test shows it
		return 1
	}
	return 0
}

func holdAll(ready func() error) error {
	control, err := buildservice.OpenControl(os.Getenv)
	if err != nil {
		return err
	}
	builder, err := control.Builder(context.Background())
	if err != nil {
		return err
	}
	defer builder.Close()
	conn, err := control.Sandbox(context.Background(), buildservice.Sandbox{})
	if err != nil {
		return err
	}
	socket, err := conn.File()
	if err != nil {
		return err
	}
	client, err := guest.NewClient(socket)
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	_, err = client.Run(context.Background(), guest.Command{
		Args: []string{"/bin/sleep", "1000"}, Env: []string{"PATH=/usr/bin:/bin"}, Output: os.Stderr,
	})
	return err
}

// The kernel removes the mounts, the namespaces and the loop devices of a killed service. The next start of the
// service removes the rest, before a build needs it.
func TestAKilledServiceLeavesNothing(t *testing.T) {
	newWorld(t)
	sandboxtest.Need(t, "mkfs.ext4", "e2fsprogs")
	dir := sandboxtest.Dir(t)
	must.Succeed(t, os.Chmod(dir, 0o777)) // the runner writes to it
	first := startService(t, dir)
	attempt, err := buildservice.Client{Socket: socketOf(dir)}.Start(t.Context(), buildservice.Run{
		Attempt: "b1-1", Domain: "b1", URL: "http://127.0.0.1:1/", Hooks: true,
		Token: secret.New(filepath.Join(dir, "ready")),
	})
	must.Succeed(t, err)
	waitReady(t, filepath.Join(dir, "ready"))
	processes := descendants(first.PID())
	groups := groupsOf(processes)
	if text := strings.Join(groups, " "); !strings.Contains(text, "service-") || !strings.Contains(text, "builder-") {
		t.Fatalf("groups of the processes: got %q, want those of the service and of a builder", groups)
	}
	if len(loopsIn(t, dir)) < 2 {
		t.Fatalf("loop devices: got %v, want those of the attempt and of the builder", loopsIn(t, dir))
	}
	if uplinks(t) != 2 {
		t.Fatalf("uplinks: got %d, want those of the sandbox and of the builder", uplinks(t))
	}

	must.Succeed(t, unix.Kill(first.PID(), unix.SIGKILL))
	attempt.Wait()
	must.Eventually(t, "all processes end", func() bool { return len(running(processes)) == 0 })
	must.Eventually(t, "the loop devices are free", func() bool { return len(loopsIn(t, dir)) == 0 })
	second := startService(t, dir)
	defer second.Stop(20 * time.Second)
	must.Eventually(t, "the groups are removed", func() bool { return len(existing(t, groups)) == 0 })
	must.Eventually(t, "the uplinks are removed", func() bool { return uplinks(t) == 0 })
	for _, pattern := range []string{"state/attempts/*", "state/sandboxes/slipway-box-*"} {
		must.Eventually(t, "there is no "+pattern, func() bool {
			return len(must.Get[[]string](t)(filepath.Glob(filepath.Join(dir, pattern)))) == 0
		})
	}
	if mounts := string(must.Get[[]byte](t)(os.ReadFile("/proc/self/mountinfo"))); strings.Contains(mounts, dir) {
		t.Errorf("mounts: got one of %s, want none:\n%s", dir, mounts)
	}
}

func socketOf(dir string) string { return filepath.Join(dir, "service.sock") }

// startService starts a builder service, and waits until it accepts connections.
func startService(t *testing.T, dir string) *process.Builder {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "builder", "service", "--socket", socketOf(dir),
		"--state", filepath.Join(dir, "state"), "--disk", "64MB", "--builder-disk", "64MB", "--", "--network", "none")
	service, err := process.StartBuilder(cmd, func(line string) { t.Log(line) })
	must.Succeed(t, err)
	t.Cleanup(func() { service.End(unix.SIGKILL) })
	must.Succeed(t, service.WaitReady(t.Context()))
	return service
}

// waitReady waits for the file of a runner.
func waitReady(t *testing.T, file string) {
	t.Helper()
	var text []byte
	must.Eventually(t, "the runner is ready", func() bool {
		text, _ = os.ReadFile(file) // absent until then
		return len(text) > 0
	})
	if got := string(text); got != "ready" {
		t.Fatalf("runner: got %q, want ready", got)
	}
}

// descendants returns a process and its descendants.
func descendants(pid int) []int {
	all := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file) // the thread may have ended
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				all = append(all, descendants(child)...)
			}
		}
	}
	return all
}

// running returns the processes that have not ended.
func running(pids []int) (all []int) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			all = append(all, pid)
		}
	}
	return all
}

// groupsOf returns the names of Slipway's cgroups with one of the processes, for example "service-1f3a9c2e".
func groupsOf(pids []int) (all []string) {
	seen := map[string]bool{}
	name := regexp.MustCompile(`/slipway/((?:service|builder)-[0-9a-f]+)`)
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)) // the process may have ended
		for _, match := range name.FindAllStringSubmatch(string(text), -1) {
			if !seen[match[1]] {
				seen[match[1]] = true
				all = append(all, match[1])
			}
		}
	}
	return all
}

// existing returns the directories of cgroups.
func existing(t *testing.T, groups []string) (all []string) {
	t.Helper()
	for _, group := range groups {
		for _, pattern := range []string{"/sys/fs/cgroup/slipway/", "/sys/fs/cgroup/*/slipway/"} {
			all = append(all, must.Get[[]string](t)(filepath.Glob(pattern+group))...)
		}
	}
	return all
}

// loopsIn returns the loop devices with a file in a directory.
func loopsIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	for _, file := range must.Get[[]string](t)(filepath.Glob("/sys/block/loop*/loop/backing_file")) {
		text, _ := os.ReadFile(file) // the device may have been freed
		if strings.HasPrefix(string(text), dir) {
			all = append(all, strings.TrimSpace(string(text)))
		}
	}
	return all
}
