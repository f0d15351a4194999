package runner_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/runnertest"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A step builds in a container with enough privilege. The header of its log shows the builder's mode.
func TestStepInAContainerBuilds(t *testing.T) {
	needContainers(t)
	subordinate := map[string]string{"/etc/subuid": "step:100000:65536\n", "/etc/subgid": "step:100000:65536\n"}
	for name, c := range map[string]struct {
		in   container
		want string
	}{
		"seccomp unconfined":                 {container{}, "starts here, in a user namespace of its own; /proc is masked here, so RUN steps see the step's processes\n"},
		"seccomp and systempaths unconfined": {container{unmasked: true}, "starts here, in a user namespace of its own\n"},
		"privileged":                         {container{unmasked: true, cgroups: true, capabilities: privilegedCapabilities()}, "starts here, privileged\n"},
		"CAP_SYS_ADMIN without seccomp":      {container{capabilities: defaultCapabilities("CAP_SYS_ADMIN")}, "starts here, in a user namespace of its own; /proc"},
		"an ordinary user":                   {container{uid: 1000, files: subordinate, own: capableHelpers}, "starts here, rootless; /proc"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			log, err := c.in.run(
				t,
				greeter(t),
				"PLUGIN_REPO="+e.Registry.Image(),
				"PLUGIN_INSECURE=true",
				"SLIPWAY_BUILDER_NETWORK=none",
			)
			if err != nil {
				t.Fatalf("step: %v\n%s", err, log)
			}
			runnertest.CheckHas(t, "the log", log, "  builder     "+c.want)
			if got := greeting(t, e); got != "hello\n" {
				t.Errorf(`greeting: got %q, want "hello\n"; log:`+"\n%s", got, log)
			}
		})
	}
}

// Without privilege a step fails before it does anything else. The error uses the CI's name for the
// privilege.
func TestStepInAContainerWithoutPrivilegeNamesTheFix(t *testing.T) {
	needContainers(t)
	drone, woodpecker := "DRONE=true", "CI=woodpecker"
	for name, c := range map[string]struct {
		in      container
		environ string
		want    []string
	}{
		"on Drone":      {container{seccomp: true}, drone, []string{"Either use a builder elsewhere: setting builder (PLUGIN_BUILDER", "set DRONE_RUNNER_PRIVILEGED_IMAGES of Drone's runner", "security_opt seccomp=unconfined"}},
		"on Woodpecker": {container{seccomp: true}, woodpecker, []string{"Either use a builder elsewhere", "set WOODPECKER_PLUGINS_PRIVILEGED of Woodpecker's server"}},
		"CAP_SYS_ADMIN": {container{seccomp: true, capabilities: defaultCapabilities("CAP_SYS_ADMIN")}, drone, []string{"may not use the kernel's keyring", "seccomp=unconfined"}},
		"an ordinary user without subordinate ids": {container{uid: 1000}, drone, []string{"user 1000 has no 65536 subordinate ids", "/etc/subuid"}},
		"an ordinary user with set-uid helpers": {container{uid: 1000, files: map[string]string{"/etc/subuid": "step:100000:65536\n", "/etc/subgid": "step:100000:65536\n"}}, drone,
			[]string{"newuidmap: write to uid_map failed", "setcap cap_setuid=ep /usr/bin/newuidmap"}},
	} {
		t.Run(name, func(t *testing.T) {
			log, err := c.in.run(t, greeter(t), "PLUGIN_REPO=127.0.0.1:1/acme/app", c.environ)
			if err == nil {
				t.Fatalf("step: got no error, want one\n%s", log)
			}
			runnertest.CheckLacks(t, "the log", log, "=== build")
			runnertest.CheckLacks(t, "the log", log, "starts here")
			// runc may write the error before the log.
			_, line, _ := strings.Cut("\n"+log, "\nslipway: no builder can run here: ")
			line, _, _ = strings.Cut(line, "\n")
			for _, want := range c.want {
				if !strings.Contains(line, want) {
					t.Errorf("error: got:\n%s\nwant %q in it", log, want)
				}
			}
		})
	}
}

// If the builder cannot make a network, RUN uses the container's network, and its nameserver on
// loopback. RUN sees the step's processes, but not their memory or environment.
func TestStepInAContainerShowsRUNTheNetworkAndNoSecret(t *testing.T) {
	needContainers(t)
	e := newEnv(t)
	dir := shellWorkspace(t, "RUN (busybox cat /etc/resolv.conf; busybox tr '\\0' ' ' < /proc/1/cmdline; "+
		"echo \"secrets $(busybox cat /proc/[0-9]*/environ 2>/dev/null | busybox grep -c canary)\"; "+
		"busybox cat /proc/1/environ /proc/1/root/etc/passwd 2>&1) > /greeting; true\n", map[string]string{})
	log, err := container{}.run(
		t,
		dir,
		"PLUGIN_REPO="+e.Registry.Image(),
		"PLUGIN_INSECURE=true",
		"PLUGIN_USERNAME=ci",
		"PLUGIN_PASSWORD=password-canary",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	got := greeting(t, e)
	for _, want := range []string{"nameserver 127.0.0.11\n", "/slipway runner secrets 0\n", "/proc/1/environ': Permission denied", "/proc/1/root/etc/passwd': Permission denied"} {
		if !strings.Contains(got, want) {
			t.Errorf("output of RUN: got:\n%s\nwant %q in it; log:\n%s", got, want, log)
		}
	}
}

// A CI stops a step with SIGTERM, and kills it ten seconds later.
func TestStepInAContainerEndsAtSIGTERM(t *testing.T) {
	needContainers(t)
	cmd := container{}.command(
		t,
		shellWorkspace(t, "RUN echo it-runs; busybox sleep 100\n", map[string]string{}),
		"PLUGIN_REPO=acme/app",
		"PLUGIN_DRY_RUN=true",
	)
	if err := endAtSIGTERM(t, cmd); err == nil {
		t.Error("step: got no error, want one")
	}
}

// The builder keeps its files below TMPDIR. If it cannot, the error names TMPDIR.
func TestStepInAContainerWithAnUnusableTMPDIR(t *testing.T) {
	needContainers(t)
	tmp := func(options ...string) []specs.Mount {
		return []specs.Mount{{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: options}}
	}
	dir := t.TempDir()
	makeDirs(t, dir, "lower", "upper", "work", "overlay")
	mountFor(
		t,
		"overlay",
		filepath.Join(dir, "overlay"),
		"overlay",
		"lowerdir="+dir+"/lower,upperdir="+dir+"/upper,workdir="+dir+"/work",
	)
	for name, c := range map[string]struct {
		mount []specs.Mount
		want  string
	}{
		"read-only": {tmp("ro"), "read-only file system: set TMPDIR"},
		"full":      {tmp("size=1m"), "free: set TMPDIR"},
		"noexec":    {[]specs.Mount{{Destination: "/tmp", Type: "bind", Source: filepath.Join(dir, "overlay"), Options: []string{"bind", "noexec"}}}, "is mounted noexec"},
	} {
		t.Run(name, func(t *testing.T) {
			log, err := container{mount: c.mount}.run(t, greeter(t), "PLUGIN_REPO=127.0.0.1:1/acme/app")
			if err == nil {
				t.Fatalf("step: got no error, want one\n%s", log)
			}
			runnertest.CheckHas(t, "the log", log, c.want)
			runnertest.CheckLacks(t, "the log", log, "=== build")
		})
	}
}

// greeter returns a repository whose Dockerfile runs a command that prints a greeting.
func greeter(t *testing.T) string {
	t.Helper()
	return shellWorkspace(t, "RUN echo hello > /greeting\n", map[string]string{})
}

// capableHelpers adds newuidmap and newgidmap to a container. Each has the one capability that it needs,
// as after `setcap cap_setuid=ep`. Set-uid programs would need CAP_SYS_ADMIN.
// https://man7.org/linux/man-pages/man7/capabilities.7.html (file capabilities, VFS_CAP_REVISION_2)
func capableHelpers(t *testing.T, root string) {
	t.Helper()
	for name, capability := range map[string]uint{"newuidmap": unix.CAP_SETUID, "newgidmap": unix.CAP_SETGID} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip("SKIPPED: an ordinary user needs " + name + ", which is absent (Debian: apt-get install uidmap)")
		}
		program, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		own := filepath.Join(root, "usr-local", name)
		if err := os.WriteFile(own, program, 0o755); err != nil {
			t.Fatal(err)
		}
		value := make([]byte, 20)
		value[0], value[3], value[4] = 1, 2, 1<<capability // effective; revision 2; permitted
		if err := unix.Setxattr(own, "security.capability", value, 0); err != nil {
			t.Fatal(err)
		}
	}
}
