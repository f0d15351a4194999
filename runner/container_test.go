package runner_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"slipway/runner/sandbox"
)

// A container runs a step like a CI does. runc makes it with Docker's settings, so the machine does not
// need Docker. It shares the machine's network because the registry is there.
type container struct {
	capabilities []string          // nil = Docker's default ones
	seccomp      bool              // Docker's default profile
	denied       []string          // system calls that the profile denies in addition
	unmasked     bool              // all of /proc is visible
	cgroups      bool              // are writable
	uid          uint32            // user of the step
	files        map[string]string // besides the machine's programs
	mount        []specs.Mount
	own          func(t *testing.T, root string) // changes the root file system; nil = no change
}

// defaultCapabilities returns Docker's default capabilities, and more.
// https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
func defaultCapabilities(more ...string) []string {
	return append(
		more,
		"CAP_CHOWN",
		"CAP_DAC_OVERRIDE",
		"CAP_FSETID",
		"CAP_FOWNER",
		"CAP_MKNOD",
		"CAP_NET_RAW",
		"CAP_SETGID",
		"CAP_SETUID",
		"CAP_SETFCAP",
		"CAP_SETPCAP",
		"CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT",
		"CAP_KILL",
		"CAP_AUDIT_WRITE",
	)
}

// privilegedCapabilities returns most capabilities of --privileged. A virtual machine may not have all.
func privilegedCapabilities() []string {
	return defaultCapabilities("CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYSLOG")
}

// needContainers skips the test with the reason if runc cannot make a container.
func needContainers(t *testing.T) {
	t.Helper()
	needBuildKit(t)
	if mode := sandbox.Probe(t.Context(), sandbox.ProbeOptions{})[0]; mode.Detail != sandbox.ModePrivileged {
		t.Skip("SKIPPED: making a container needs root that may mount; here a builder would run " + mode.Detail)
	}
}

// run runs the step in the container and returns its log.
func (c container) run(t *testing.T, workspace string, environ ...string) (log string, err error) {
	t.Helper()
	cmd := c.command(t, workspace, environ...)
	started := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("the container took %s", time.Since(started).Round(time.Millisecond))
	return string(out), err
}

// command returns runc's command for the step. runc passes signals on to the step.
func (c container) command(t *testing.T, workspace string, environ ...string) *exec.Cmd {
	t.Helper()
	bundle := t.TempDir()
	config, err := json.Marshal(c.spec(t, c.rootfs(t, bundle), workspace, environ))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	state, id := filepath.Join(bundle, "state"), "slipway-"+strings.ReplaceAll(strings.Trim(bundle, "/"), "/", "-")
	t.Cleanup(func() {
		cancel()
		// This is needed only if the container was killed.
		_ = exec.Command("runc", "--root", state, "delete", "--force", id).Run()
	})
	return exec.CommandContext(ctx, "runc", "--root", state, "run", "--bundle", bundle, id)
}

// rootfs mounts an overlay like Docker's. The kernel rejects a second overlay on top of it.
func (c container) rootfs(t *testing.T, bundle string) string {
	t.Helper()
	root, store := filepath.Join(bundle, "rootfs"), filepath.Join(bundle, "store")
	makeDirs(t, bundle, "rootfs", "store")
	mountFor(t, "tmpfs", store, "tmpfs", "mode=0755")
	makeDirs(
		t,
		store,
		"lower/proc",
		"lower/sys",
		"lower/dev",
		"lower/etc",
		"lower/tmp",
		"lower/run",
		"lower/root",
		"lower/drone/src",
		"lower/usr-local",
		"upper",
		"work",
	)
	if err := os.Chmod(filepath.Join(store, "lower/tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, dir := range programs() {
		if target, err := os.Readlink(dir); err != nil {
			makeDirs(t, filepath.Join(store, "lower"), dir)
		} else if err := os.Symlink(target, filepath.Join(store, "lower", dir)); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{
		"/etc/passwd":      "root:x:0:0::/root:/bin/sh\nstep:x:1000:1000::/tmp:/bin/sh\n",
		"/etc/group":       "root:x:0:\nstep:x:1000:\n",
		"/etc/resolv.conf": "nameserver 127.0.0.11\n",
		"/slipway":         "",
	}
	for path, text := range c.files {
		files[path] = text
	}
	for path, text := range files {
		if err := os.WriteFile(filepath.Join(store, "lower", path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mountFor(t, "overlay", root, "overlay", "lowerdir="+store+"/lower,upperdir="+store+"/upper,workdir="+store+"/work")
	if c.own != nil {
		c.own(t, root)
	}
	return root
}

func makeDirs(t *testing.T, parent string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(filepath.Join(parent, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// mountFor mounts a file system until the test ends.
func mountFor(t *testing.T, source, target, kind, options string) {
	t.Helper()
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		t.Fatalf("mount %s on %s: %v", kind, target, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// programs returns the machine's directories of programs and libraries.
func programs() (dirs []string) {
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64"} {
		if _, err := os.Lstat(dir); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// spec returns the container's configuration for runc.
// https://github.com/opencontainers/runtime-spec/blob/main/config.md
func (c container) spec(t *testing.T, root, workspace string, environ []string) *specs.Spec {
	t.Helper()
	if c.capabilities == nil {
		c.capabilities = defaultCapabilities()
	}
	held := &specs.LinuxCapabilities{Bounding: c.capabilities}
	if c.uid == 0 {
		held.Effective, held.Permitted = c.capabilities, c.capabilities
	}
	s := &specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: root},
		Process: &specs.Process{
			Args: []string{
				"/slipway",
				"runner",
			},
			Cwd:          "/drone/src",
			Capabilities: held,
			User:         specs.User{UID: c.uid, GID: c.uid},
			Env: append(
				[]string{asCommand + "=1", "PATH=/usr-local:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"},
				environ...),
		},
		Mounts: c.mounts(t, workspace),
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{
				Type: specs.MountNamespace,
			},
			{Type: specs.PIDNamespace},
			{Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace},
		}},
	}
	if !c.unmasked {
		s.Linux.MaskedPaths = []string{
			"/proc/acpi",
			"/proc/asound",
			"/proc/interrupts",
			"/proc/kcore",
			"/proc/keys",
			"/proc/latency_stats",
			"/proc/timer_list",
			"/proc/timer_stats",
			"/proc/sched_debug",
			"/proc/scsi",
			"/sys/firmware",
		}
		s.Linux.ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	}
	if c.seccomp {
		profile, err := seccomp.GetDefaultProfile(s)
		if err != nil {
			t.Fatal(err)
		}
		for i, rule := range profile.Syscalls {
			isDenied := func(name string) bool { return slices.Contains(c.denied, name) }
			profile.Syscalls[i].Names = slices.DeleteFunc(slices.Clone(rule.Names), isDenied)
		}
		s.Linux.Seccomp = profile
	}
	return s
}

func (c container) mounts(t *testing.T, workspace string) []specs.Mount {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mode := "ro"
	if c.cgroups {
		mode = "rw"
	}
	all := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{
			Destination: "/dev",
			Type:        "tmpfs",
			Source:      "tmpfs",
			Options:     []string{"nosuid", "strictatime", "mode=755", "size=65536k"},
		},
		{
			Destination: "/dev/pts",
			Type:        "devpts",
			Source:      "devpts",
			Options:     []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"},
		},
		{
			Destination: "/dev/shm",
			Type:        "tmpfs",
			Source:      "shm",
			Options:     []string{"nosuid", "noexec", "nodev", "mode=1777", "size=64m"},
		},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", mode}},
		{
			Destination: "/sys/fs/cgroup",
			Type:        "cgroup",
			Source:      "cgroup",
			Options:     []string{"nosuid", "noexec", "nodev", "relatime", mode},
		},
		{Destination: "/slipway", Type: "bind", Source: self, Options: []string{"bind", "ro"}},
		{Destination: "/drone/src", Type: "bind", Source: workspace, Options: []string{"rbind"}},
	}
	for _, dir := range programs() {
		if _, err := os.Readlink(dir); err != nil {
			all = append(
				all,
				specs.Mount{Destination: dir, Type: "bind", Source: dir, Options: []string{"rbind", "ro"}},
			)
		}
	}
	return append(all, c.mount...)
}
