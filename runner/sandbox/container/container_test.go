package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipway/runner/sandbox/container"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/guest"
	"slipway/runner/sandbox/rootfs"
	"slipway/runner/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	if guest.Requested(os.Args) {
		os.Exit(guest.Main())
	}
	os.Exit(sandboxtest.Main(m))
}

// runner is the user ID outside that owns the workspace.
const runner = 4243

// newHost prepares this machine, and skips the test if that is not possible.
func newHost(t testing.TB) (*container.Host, string) {
	t.Helper()
	sandboxtest.NeedRoot(t)
	sandboxtest.Need(t, "runc", "runc")
	dir := sandboxtest.Dir(t)
	host, err := container.New(t.Context(), container.HostOptions{Dir: filepath.Join(dir, "host")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Errorf("close the host: got %v, want no error", err)
		}
	})
	return host, dir
}

// An attempt is a running sandbox with its disk.
type attempt struct {
	*container.Container
	t         testing.TB
	disk      *disk.Disk
	workspace string
}

// start starts a sandbox that is closed at the end of the test.
func start(t testing.TB, host *container.Host, dir string, o container.Options) *attempt {
	t.Helper()
	a, err := newAttempt(t, host, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

// newAttempt starts a sandbox on a disk of its own. The caller closes it.
func newAttempt(t testing.TB, host *container.Host, dir string, o container.Options) (*attempt, error) {
	d, err := disk.New(t.Context(), disk.Options{Dir: dir, Bytes: 256 << 20, Inodes: 20_000})
	if err != nil {
		return nil, err
	}
	a := &attempt{t: t, disk: d, workspace: filepath.Join(d.Path(), "workspace")}
	err = errors.Join(os.Mkdir(a.workspace, 0o755), os.Chown(a.workspace, runner, runner))
	if err == nil {
		o.Disk, o.Workspace = d, rootfs.Workspace{Dir: a.workspace, Owner: runner}
		a.Container, err = host.Start(t.Context(), o)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return a, nil
}

// close closes everything. A second call does nothing.
func (a *attempt) close() {
	a.t.Helper()
	if err := a.Close(context.Background()); err != nil {
		a.t.Errorf("close the container: got %v, want no error", err)
	}
	if err := a.disk.Close(); err != nil {
		a.t.Errorf("close the disk: got %v, want no error", err)
	}
}

// run runs a script in the workspace and returns its output, without the last line end.
func (a *attempt) run(script string) (output string, status guest.Status) {
	a.t.Helper()
	var out bytes.Buffer
	status, err := a.Client().Run(a.t.Context(), guest.Command{
		Dir:  rootfs.WorkspacePath,
		Args: []string{"bash", "-c", script},
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
			"DEBIAN_FRONTEND=noninteractive", "LANG=C.UTF-8",
		},
		Output: &out,
	})
	if err != nil {
		a.t.Fatalf("%s: got %v, want no error; output %q", script, err, out.String())
	}
	return strings.TrimSpace(out.String()), status
}

// check runs a script and compares its success.
func (a *attempt) check(name, script string, want bool) {
	a.t.Helper()
	out, status := a.run(script)
	if got := status == (guest.Status{}); got != want {
		a.t.Errorf("%s: got success %v (%v, output %q), want %v", name, got, status, out, want)
	}
}

// same runs a script and compares its output.
func (a *attempt) same(name, script, want string) {
	a.t.Helper()
	if got, status := a.run(script); got != want {
		a.t.Errorf("%s: got %q (%v), want %q", name, got, status, want)
	}
}

func TestTheSandboxOfAnAttempt(t *testing.T) {
	host, dir := newHost(t)
	a := start(t, host, dir, container.Options{
		Files: []rootfs.File{
			{Path: "/etc/resolv.conf", Data: []byte("nameserver 10.9.8.7\n")},
			{Path: "/usr/local/share/ca-certificates/attempt.crt", Data: []byte("certificate")},
		},
	})
	t.Run("inside", func(t *testing.T) { a.within(t).testInside() })
	t.Run("workspace", func(t *testing.T) { a.within(t).testWorkspace() })
	t.Run("added package", func(t *testing.T) { a.within(t).testAddedPackage() })
	t.Run("replaced package", func(t *testing.T) { a.within(t).testReplacedPackage() })
	t.Run("hostile", func(t *testing.T) { a.within(t).testHostile() })
	t.Run("others", func(t *testing.T) { a.within(t).testOthers(start(t, host, dir, container.Options{})) })
	t.Run("full disk", func(t *testing.T) { a.within(t).testFullDisk() })
}

// within returns the attempt for a subtest.
func (a *attempt) within(t *testing.T) *attempt {
	b := *a
	b.t = t
	return &b
}

func TestTry(t *testing.T) {
	host, dir := newHost(t)
	before := leftovers(t, dir)
	if err := host.Try(t.Context()); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	if after := leftovers(t, dir); after != before {
		t.Errorf("after Try: got %s, want %s", after, before)
	}
	broken, err := container.New(t.Context(), container.HostOptions{
		Dir:     filepath.Join(dir, "broken"),
		Runtime: "/bin/false",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	if err := broken.Try(t.Context()); err == nil || !contains(err.Error(), "start a sandbox: runc: ") {
		t.Errorf("a runtime that fails: got %v, want an error", err)
	}
}

// The caller's namespace is used as it is: root of the sandbox cannot change it.
func TestTheNetworkOfTheCaller(t *testing.T) {
	host, dir := newHost(t)
	sandboxtest.Need(t, "ip", "iproute2")
	holder := exec.Command("sh", "-c", `ip link add canary type bridge && ip link set lo up &&
		sysctl -qw net.ipv4.ip_unprivileged_port_start=0 && echo ready && exec cat`)
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = holder.Wait() })
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	a := start(t, host, dir, container.Options{Network: fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)})
	a.check("sees the interfaces", "ip link show canary", true)
	a.check("changes an interface", "ip link set canary up || ip link set lo down || ip link del canary", false)
	a.check("adds an address", "ip addr add 10.1.1.1/8 dev lo", false)
	a.check("enters the namespace with rights", "nsenter -t $$ -n ip link del canary", false)
	a.check("writes a network setting", "echo 1 > /proc/sys/net/ipv4/ip_forward", false)
	a.check("listens on port 80",
		`perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalPort=>80,Listen=>1) or die'`, true)
}

func (a *attempt) testInside() {
	a.same("user", "id -u; id -g", "0\n0")
	// When memory runs out, the kernel kills a command, and not process 1, which would end the sandbox.
	a.same("kill scores", "until grep -qx 0 /proc/1/oom_score_adj; do :; done; cat /proc/self/oom_score_adj", "500")
	a.same("directory", "pwd", rootfs.WorkspacePath)
	a.same("given file", "cat /etc/resolv.conf", "nameserver 10.9.8.7")
	a.same("given file in /usr", "stat -c %u:%a /usr/local/share/ca-certificates/attempt.crt", "0:644")
	a.same("network", "ls /sys/class/net 2>/dev/null; cut -sd: -f1 /proc/net/dev | tr -d ' '", "lo")
	a.check("loopback is up", `perl -MIO::Socket::INET -e '
		$s=IO::Socket::INET->new(LocalAddr=>"127.0.0.1",LocalPort=>80,Listen=>1) or die $!;
		IO::Socket::INET->new(PeerAddr=>"127.0.0.1:80",Timeout=>5) or die $!'`, true)
	a.check("writes anywhere", "mkdir -p /var/www && touch /usr/local/bin/x /var/www/x /etc/x /root/x /opt/x", true)
	a.check("changes a program of the machine", "echo >> /usr/share/common-licenses/BSD", true)
	a.check("deletes a program of the machine", "rm /usr/bin/tac && ! test -e /usr/bin/tac", true)
	a.check("another user", "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'test $(id -u) = 1000'", true)
	a.check("temporary files of another user", "setpriv --reuid 1000 --clear-groups touch /tmp/y /var/tmp/y", true)
	a.same("su", "su www-data -s /bin/sh -c 'id -un'", "www-data")
	if _, err := exec.LookPath("sudo"); err != nil {
		a.t.Log("SKIPPED: sudo in the sandbox needs sudo, which is absent (Debian: apt-get install sudo)")
	} else {
		a.same("sudo", "sudo id -un; sudo -u www-data id -un", "root\nwww-data")
	}
	a.check("git", "git init -q /tmp/repo && git -C /tmp/repo status", true)
	if _, err := os.Stat("/usr/bin/tac"); err != nil {
		a.t.Errorf("a program of the machine: got %v, want it unchanged", err)
	}
}

func (a *attempt) testWorkspace() {
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(a.workspace, name)
		if err := os.WriteFile(path, []byte("outside"), mode); err != nil {
			a.t.Fatal(err)
		}
		if err := os.Chown(path, runner, runner); err != nil {
			a.t.Fatal(err)
		}
		return path
	}
	write("private", 0o600)
	a.same("a file of the runner", "stat -c %u:%g private; cat private", "0:0\noutside")
	a.check("changes a file of the runner", "echo inside > private && chmod 755 private", true)
	a.check("makes a file", "mkdir sub && echo x > sub/made", true)
	a.check("gives a file to another user, as tar does",
		"touch theirs && chown 1000:1000 theirs && stat -c %u theirs | grep -x 1000", true)
	for _, name := range []string{"private", "sub", "sub/made"} {
		info, err := os.Stat(filepath.Join(a.workspace, name))
		if err != nil {
			a.t.Error(err)
			continue
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != runner {
			a.t.Errorf("owner of %s outside: got %d, want %d", name, got, runner)
		}
	}
	secret := filepath.Join(filepath.Dir(a.disk.Path()), "secret")
	if err := os.WriteFile(secret, []byte("CANARY"), 0o644); err != nil {
		a.t.Fatal(err)
	}
	defer os.Remove(secret)
	for name, target := range map[string]string{
		"absolute": secret, "relative": "../../secret", "proc": "/proc/1/root" + secret,
	} {
		if err := os.Symlink(target, filepath.Join(a.workspace, name)); err != nil {
			a.t.Fatal(err)
		}
		a.check("follows a link out of the workspace: "+name, "cat "+name, false)
	}
	a.check("set-user-ID is ignored", `cp /usr/bin/id setuid && chmod 4755 setuid &&
		test "$(setpriv --reuid 1000 --regid 1000 --clear-groups ./setuid -u)" = 1000`, true)
	setuid := filepath.Join(a.workspace, "setuid")
	asOther := []string{"--reuid", "4244", "--regid", "4244", "--clear-groups", setuid, "-u"}
	out, err := exec.Command("setpriv", asOther...).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != "4244" {
		a.t.Errorf("a set-user-ID program of the sandbox, run outside: got user %q and %v, want 4244", got, err)
	}
}

func (a *attempt) testFullDisk() {
	a.same("fallocate", "fallocate -l 3G /tmp/big 2>&1 | grep -c 'No space left'", "1")
	a.same("a fast writer", "dd if=/dev/zero of=/usr/local/fill bs=1M count=1000 2>&1 | grep -c 'No space left'", "1")
	a.check("clean up", "rm -f /usr/local/fill /tmp/big", true)
	a.check("many files", `mkdir /tmp/many; perl -e 'for(1..100000){open F,">","/tmp/many/$_" or die $!}'`, false)
	a.check("clean up", "rm -rf /tmp/many", true)
}

func (a *attempt) testOthers(b *attempt) {
	a.check("a file", "touch /tmp/mine", true)
	b.check("sees files of another sandbox", "find / -xdev -name mine | grep .", false)
	b.check("sees the disk of another sandbox", "ls "+a.disk.Path()+" "+filepath.Dir(a.disk.Path()), false)
	shared, err := filepath.Glob(a.disk.Path() + "/slipway-box-*")
	if err != nil || len(shared) != 1 {
		a.t.Fatalf("got %v and %v, want the directory of the root file system", shared, err)
	}
	tmp := shared[0] + "/root/tmp"
	other := exec.Command("setpriv", "--reuid", "4244", "--regid", "4244", "--clear-groups", "ls", tmp)
	if out, err := other.CombinedOutput(); err == nil {
		a.t.Errorf("another user of this machine: got %s, want that /tmp of the sandbox cannot be read", out)
	}
	first, _ := a.run("cat /proc/self/uid_map")
	second, _ := b.run("cat /proc/self/uid_map")
	if first == second {
		a.t.Errorf("IDs of two sandboxes: got %q for both, want two ranges", first)
	}
}
